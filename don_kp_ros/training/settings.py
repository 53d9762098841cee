"""The training configuration that config/training/*.yaml hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from don_kp_ros.configuration import within
from don_kp_ros.data.mask_options import MaskOptions
from don_kp_ros.data.pairs import ViewConfiguration
from don_kp_ros.networks.checkpoint import Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration

NEIGHBOURS = 8  # correspondences by which chosen keypoints are found in the other view of a pair
_BODY = 0.25  # of the learning rate, for published weights
_MOST_TURNED = 90  # degrees; more was measured at 180 alone


@dataclass(frozen=True)
class KeypointLossConfiguration:
    """The losses that keypoints, and the descriptors under them, are mined by (paper 1, 3.3)."""

    weight: float = 1.0  # of all of these together, beside the descriptors' loss
    shape_descriptors: bool | None = None  # whether they change the descriptors, too, beside the
    # descriptors' loss; none: where views are turned by at most 90 degrees
    truth: Literal['image', 'camera', 'world'] = 'image'  # where two views of a keypoint agree:
    # in the picture, by the homography; in view b's camera frame, eq. 6; in the world's, 1b eq. 6
    units: Literal['relative', 'pixels'] = 'relative'  # of image, variance, separation;
    # relative: half the view's side is 1
    margin: float | None = None  # pixels between keypoints; none: sqrt(mask area / N)
    delta: float = 0.05  # where Huber's loss turns linear, in units, or metres
    consistency: float = 5.0  # weights
    pose: float = 0.0  # eq. 7
    silhouette: float = 1.0
    variance: float = 0.5
    separation: float = 1.0

    def __post_init__(self) -> None:
        for name in ('weight', 'consistency', 'pose', 'silhouette', 'variance', 'separation'):
            within(name, getattr(self, name), 0, 1e6)
        within('delta', self.delta, 1e-6, 1e6)
        if self.margin is not None:
            within('margin', self.margin, 0, 1e4)


@dataclass(frozen=True)
class ObjectLossConfiguration:
    """The losses of points on several objects, learned from scenes (paper 3).

    A network with `inter` learns both parts by a loss each, one with `confidence` is repeatable
    and weighs points by it; each of them may be left out.
    """

    temperature: float = 0.07  # of where on an object (eq. 7)
    inter_temperature: float = 0.2  # of which object (eq. 8)
    repeatability: float = 1.0  # weights: of eq. 3, ...
    intra: float = 1.0  # ... eq. 7, ...
    inter: float = 1.0  # ... and eq. 8
    negatives: Literal['object', 'random'] = 'object'  # of eq. 7: cells of the same object, or as
    # many of the whole view; a network without `inter` takes all cells instead of the object's
    apart: float = 8.0  # delta, pixels: what is nearer to a match is not a negative
    patch: int = 16  # N, pixels: side of the patches that eq. 3 compares
    lone: bool = True  # matches in the picture of the object alone, too (eq. 9, 10)

    def __post_init__(self) -> None:
        for name in ('temperature', 'inter_temperature'):
            within(name, getattr(self, name), 0.001, 10)
        for name in ('repeatability', 'intra', 'inter'):
            within(name, getattr(self, name), 0, 1e6)
        within('apart', self.apart, 0, 1e4)
        within('patch', self.patch, 8, 512)


@dataclass(frozen=True)
class LossConfiguration:
    """The losses that train descriptors and, if the network has them, keypoints."""

    descriptors: Literal['nt_xent', 'nt_xent_sampled', 'contrastive', 'objects', 'none'] = (
        'nt_xent'
    )
    # nt_xent: against every cell; nt_xent_sampled: against the other correspondences;
    # contrastive: Florence et al., 2018, and paper 4; objects: paper 3, of scenes; none: mined
    # from the keypoints alone
    temperature: float = 0.1
    negatives: int = 1024  # background cells of the whole batch that every query is compared with
    margin: float = 0.5  # of the contrastive loss
    non_matches: int = 150  # of the contrastive loss, per match
    on_object: float = 0.5  # share of these that lie on an object; the others lie anywhere
    background: float = 0.0  # weight of the background's squared lengths, with network.euclidean
    segmentation: float = 0.0  # weight of telling the objects of scenes apart by a layer beside
    # the descriptors', which the model does not keep (paper 4)
    objects: ObjectLossConfiguration = field(default_factory=ObjectLossConfiguration)
    keypoints: KeypointLossConfiguration = field(default_factory=KeypointLossConfiguration)

    def __post_init__(self) -> None:
        within('temperature', self.temperature, 0.001, 10)
        within('negatives', self.negatives, 0, 1_000_000)
        within('margin', self.margin, 0, 2)
        within('non_matches', self.non_matches, 1, 100_000)
        within('on_object', self.on_object, 0, 1)
        for name in ('background', 'segmentation'):
            within(name, getattr(self, name), 0, 1e6)


@dataclass(frozen=True)
class OptimiserConfiguration:
    """How the weights change, and an average of them that is exported."""

    kind: Literal['muon', 'adamw', 'adam'] = 'muon'  # muon: more learned per step, which costs
    # more; adam: its weight decay is a part of the gradient, as in papers 1 and 2
    learning_rate: float = 0.004
    # Of the backbone; none: 0.25 and 1 for published weights, 1 and 0 for others.
    body: float | None = None  # its learning rate, times that of the rest
    frozen: int | None = None  # its first stages, the stem included, that stay as they are, their
    # batch norms' statistics included
    weight_decay: float = 0.0001
    schedule: Literal['cosine', 'constant'] = 'cosine'  # linear warm-up, then a cosine to zero
    warmup: float = 0.1  # fraction of the training
    clip: float = 1.0  # norm of the gradients
    average: float = 0.998  # decay of the average per step; 0: the last weights

    def __post_init__(self) -> None:
        within('learning_rate', self.learning_rate, 0, 10)
        if self.body is not None:
            within('body', self.body, 0, 10)
        if self.frozen is not None:
            within('frozen', self.frozen, 0, 4)
        within('weight_decay', self.weight_decay, 0, 10)
        within('warmup', self.warmup, 0, 0.9)
        within('clip', self.clip, 0, 1e6)
        within('average', self.average, 0, 0.99999)


@dataclass(frozen=True)
class ValidationConfiguration:
    """How the model is measured on held-out pictures."""

    times: int = 4  # evenly spread over the training, the last one at its end
    pairs: int = 24  # at most, while training
    final_pairs: int = 100  # at most, at the end
    queries: int = 64  # per pair
    patience: int = 0  # measurements in a row without a better AUC that end the training; fewer
    # than times - 1. 0: none does
    held: float = 0.1  # share of pictures and negatives held out, if nothing else is

    def __post_init__(self) -> None:
        for name in ('times', 'pairs', 'final_pairs', 'queries'):
            within(name, getattr(self, name), 1, 100_000)
        if not 0 <= self.patience < max(1, self.times - 1):
            raise ValueError(
                f'patience is {self.patience}; of {self.times} measurements (times) they end a '
                f'training early only if it is less than {self.times - 1}; raise times'
            )
        within('held', self.held, 0, 0.5)


@dataclass(frozen=True)
class TrainingConfiguration:
    """All settings of a training except its data, seed and length."""

    data: Path | None = None  # folder to learn from, unless the command line says otherwise
    minutes: float = 10.0  # of training, unless the command line says otherwise
    epoch: int = 100  # steps between two states on disk
    pictures: int = 5  # epochs between two sets of pictures for TensorBoard
    pairs: int = 4  # view pairs per step
    workers: int = 1  # processes that make view pairs
    threads: int = 0  # of the processor that a step uses; 0: torch's choice
    backgrounds: Path | None = None  # folder of pictures without the object
    masks: MaskOptions = field(default_factory=MaskOptions)
    weights: str | None = (
        'imagenet'  # to begin with: these, a file (.pth), or a model; none: random
    )
    network: NetworkConfiguration = field(default_factory=NetworkConfiguration)
    unfamiliar: float = 0.1  # share of the object's descriptors too short to count as familiar,
    # with network.novelty; less of many objects, which differ more in length
    chosen_keypoints: int = 0  # of each kind of object, chosen among the trained descriptors where
    # the network learns none; fewer if a kind shows fewer points; 0: none
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    views: ViewConfiguration = field(default_factory=ViewConfiguration)
    loss: LossConfiguration = field(default_factory=LossConfiguration)
    optimiser: OptimiserConfiguration = field(default_factory=OptimiserConfiguration)
    validation: ValidationConfiguration = field(default_factory=ValidationConfiguration)

    def __post_init__(self) -> None:
        within('minutes', self.minutes, 1e-6, 1e6)
        within('epoch', self.epoch, 1, 1_000_000)
        within('pictures', self.pictures, 1, 1_000_000)
        within('pairs', self.pairs, 1, 4096)
        within('workers', self.workers, 0, 256)
        within('threads', self.threads, 0, 1024)
        within('unfamiliar', self.unfamiliar, 0, 0.9)
        if self.chosen_keypoints:
            within('chosen_keypoints', self.chosen_keypoints, 2, 512)
            if self.views.queries < NEIGHBOURS:
                raise ValueError(
                    f'views.queries is {self.views.queries}, but keypoints are chosen by '
                    f'{NEIGHBOURS} correspondences of a pair or more: set it to {NEIGHBOURS}, or '
                    'chosen_keypoints to 0'
                )
        keypoints = self.network.keypoints
        if keypoints is not None and self.chosen_keypoints:
            raise ValueError(
                f'chosen_keypoints is {self.chosen_keypoints}, but the network learns keypoints: '
                'set one of them, or network.keypoints to null'
            )
        if keypoints is None and self.loss.descriptors == 'none':
            raise ValueError(
                'loss.descriptors is none and network.keypoints is not set: nothing would be '
                'learned; set one of them'
            )
        losses = self.loss.keypoints
        if self.loss.descriptors == 'none' and losses.shape_descriptors is False:
            raise ValueError(
                'loss.descriptors is none and loss.keypoints.shape_descriptors is false: nothing '
                'would train the descriptors; set one of them'
            )
        in_space = losses.truth != 'image' or losses.pose > 0
        if keypoints is not None and keypoints.depth and not in_space:
            raise ValueError(
                'network.keypoints.depth is true, but loss.keypoints.truth is image and pose 0: '
                'nothing would train the depth; set truth to camera or world'
            )
        if keypoints is not None and in_space and not keypoints.depth:
            raise ValueError(
                f'loss.keypoints.truth is {losses.truth} and pose is {losses.pose}: keypoints in '
                'space need network.keypoints.depth: true'
            )
        if self.loss.descriptors != 'objects' and (self.network.inter or self.network.confidence):
            raise ValueError(
                f'loss.descriptors is {self.loss.descriptors}, which trains neither network.inter '
                'nor network.confidence: set it to objects, or these to 0 and false'
            )
        euclidean = self.network.euclidean
        if euclidean and self.loss.descriptors != 'contrastive':
            raise ValueError(
                f'loss.descriptors is {self.loss.descriptors}, which trains directions, but '
                'network.euclidean is true: set one to contrastive, or the other to false'
            )
        if euclidean and (keypoints is not None or self.chosen_keypoints):
            raise ValueError(
                'network.euclidean is true, and keypoints are found by directions: set '
                'network.keypoints to null and chosen_keypoints to 0'
            )
        if self.loss.background and not euclidean:
            raise ValueError(
                f'loss.background is {self.loss.background:g}, but all descriptors are equally '
                'long: set it to 0, or network.euclidean to true'
            )

    @property
    def body(self) -> float:
        """The backbone's learning rate, times that of the rest."""
        chosen = self.optimiser.body
        return (_BODY if self._published else 1.0) if chosen is None else chosen

    @property
    def frozen(self) -> int:
        """How many of the backbone's stages are not trained, from the stem on."""
        stages, chosen = len(self.network.strides), self.optimiser.frozen
        if self.body == 0:
            return stages
        return min(stages, int(self._published) if chosen is None else chosen)

    @property
    def _published(self) -> bool:
        return self.weights is not None and not self.weights.endswith('.safetensors')

    @property
    def keypoints_alone(self) -> bool:
        """Whether the keypoints' losses leave the descriptors as they are.

        Keypoints cannot follow views turned by any angle, and would spoil the descriptors under
        them. But without a descriptor loss, only the keypoints' losses train the descriptors.
        """
        if self.loss.descriptors == 'none':
            return False
        chosen = self.loss.keypoints.shape_descriptors
        return self.views.warp.rotation > _MOST_TURNED if chosen is None else not chosen

    @property
    def caution(self) -> str | None:
        """A warning about settings that are allowed but work poorly; None if there are none."""
        turned = self.views.warp.rotation
        if self.network.keypoints is None or turned <= _MOST_TURNED:
            return None
        descriptors = (
            'the descriptors are trained without them'
            if self.keypoints_alone
            else 'the descriptors suffer'
        )
        return (
            f'Keypoints are hardly learned from views turned by +-{turned:g} degrees, and '
            f'{descriptors} (docs/results.md): for keypoints set views.warp.rotation to 45, for '
            'descriptors alone network.keypoints to null'
        )
