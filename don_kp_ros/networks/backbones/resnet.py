"""ResNet (He et al., 2015), as torchvision has it."""

from __future__ import annotations

from torch import nn

from don_kp_ros.networks.backbones.interface import Backbone, Body, Published
from don_kp_ros.networks.torchvision_import import get_model_weights, resnet


class ResNet(Backbone):
    """A ResNet of torchvision: layer1 to layer4 are its stages."""

    dilates = True
    places = {
        **{'conv1.': 'stem.0.', 'bn1.': 'stem.1.', 'fc.': None},
        **{f'layer{i + 1}.': f'stages.{i}.' for i in range(4)},
    }

    def __init__(self, name: str, expansion: int = 1) -> None:
        self.name = name
        self.channels = tuple(width * expansion for width in (64, 128, 256, 512))

    def build(self) -> Body:
        """Build it with random weights."""
        whole = getattr(resnet, self.name)(weights=None)
        stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool)
        return Body(stem, [whole.layer1, whole.layer2, whole.layer3, whole.layer4])

    def dilate(self, stage: nn.Module, first: int) -> None:
        """Dilate a stage as torchvision does for ResNet-50.

        first: the dilation of the stage before; the first block keeps it, the others double it.
        """
        for number, block in enumerate(stage.children()):
            dilation = first if number == 0 else 2 * first
            for module in block.modules():
                if isinstance(module, nn.Conv2d):
                    module.stride = (1, 1)
                    if module.kernel_size == (3, 3):
                        module.dilation = module.padding = (dilation, dilation)

    def imagenet(self) -> Published:
        """Take torchvision's weights from its cache or the internet."""
        published = get_model_weights(self.name).DEFAULT
        try:
            weights = published.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:  # no network, or a broken download
            raise ValueError(
                f'{self.name}: ImageNet weights can be had neither from the cache of torch nor '
                f'from {published.url} ({error}); download that file and name it (weights: FILE), '
                'or start from random weights (weights: null)'
            ) from error
        return Published(weights, f'{published} of torchvision (BSD-3-Clause)')
