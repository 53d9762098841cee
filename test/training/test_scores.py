"""What a trained model scores."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console

from don_kp_ros.data.folder import Correspondences, Sample
from don_kp_ros.evaluation.pairs import Pair, PairSet, with_truth
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration
from don_kp_ros.networks.keypoint_head import KeypointConfiguration
from don_kp_ros.training.scores import score
from don_kp_ros.training.settings import TrainingConfiguration


def pairs(kinds: tuple[str, ...]) -> PairSet:
    """Pair a picture of each kind with itself."""
    rng, mask = np.random.default_rng(0), np.zeros((96, 128), np.uint8)
    mask[20:70, 30:90] = 255
    uv = np.stack([rng.uniform(35, 85, 30), rng.uniform(25, 65, 30)], axis=1).astype(np.float32)
    images = [rng.integers(0, 255, (96, 128, 3), dtype=np.uint8) for _ in kinds]
    own = [Pair(i, i, uv, uv, np.eye(3), mask, kind=kind) for i, kind in enumerate(kinds)]
    return PairSet('pictures', images, own, [images[0]])


def test_kinds_without_keypoints_are_measured_without_them() -> None:
    """Pictures to measure on may show a kind that was not trained on."""
    head = KeypointConfiguration(4, kinds=('cap', 'mug'))
    network = NetworkConfiguration('resnet18', channels=8, dimension=8, keypoints=head)
    trained = Checkpoint(network, Preprocessing(96), {}, 0.0).untrained()
    settings = TrainingConfiguration(network=network)

    def measured(data: PairSet) -> tuple[list[str], dict[str, float] | None]:
        own = score(trained, data, settings, 0, torch.device('cpu'), Console(quiet=True))
        return [kind for kind, of in own.kinds.items() if 'keypoints' in of], own.keypoints

    every = pairs(('cap', 'mug', 'bottle'))
    with_keypoints, keypoints = measured(every)
    assert with_keypoints == ['cap', 'mug'] and keypoints is not None
    assert measured(pairs(('bottle', 'can'))) == ([], None)
    # No keypoint of a mug lies within its view B.
    off = replace(every.pairs[1], homography=np.array([[1, 0, 500], [0, 1, 0], [0, 0, 1.0]]))
    with_keypoints, _ = measured(replace(every, pairs=[every.pairs[0], off]))
    assert with_keypoints == ['cap']


def test_objects_too_small_for_random_views_show_no_keypoints() -> None:
    """They are large enough to train on, and too small at the size of the views."""
    head = KeypointConfiguration(4)
    network = NetworkConfiguration('resnet18', channels=8, dimension=8, keypoints=head)
    trained = Checkpoint(network, Preprocessing(96), {}, 0.0).untrained()

    def measured(*radii: int) -> dict[str, float] | None:
        samples = {}
        for number, radius in enumerate(radii):
            mask = np.zeros((960, 1280), np.uint8)
            cv2.circle(mask, (640, 480), radius, 255, -1)
            image = np.random.default_rng(number).integers(
                0, 255, (*mask.shape, 3), dtype=np.uint8
            )
            samples[number] = Sample(Path(f'{number}.png'), image, mask)
        own = np.arange(len(radii))
        uv = np.full((len(radii), 1, 2), [640, 480], np.float32)
        data = with_truth(samples, Correspondences(Path('c.npz'), own, own, uv, uv), [])
        scores = score(
            trained,
            replace(data, negatives=[data.images[0]]),
            TrainingConfiguration(network=network),
            0,
            torch.device('cpu'),
            Console(quiet=True),
        )
        return scores.keypoints

    assert measured(4) is None
    assert measured(4, 300) is not None
