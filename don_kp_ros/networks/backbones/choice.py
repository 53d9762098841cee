"""The backbones by their names in a configuration."""

from __future__ import annotations

from typing import Literal

from don_kp_ros.networks.backbones.efficientnet_lite import EfficientNetLite0
from don_kp_ros.networks.backbones.interface import Backbone
from don_kp_ros.networks.backbones.resnet import ResNet

BackboneName = Literal['resnet18', 'resnet34', 'resnet50', 'efficientnet_lite0']

BACKBONES: dict[BackboneName, Backbone] = {
    'resnet18': ResNet('resnet18'),
    'resnet34': ResNet('resnet34'),
    'resnet50': ResNet('resnet50', expansion=4),
    'efficientnet_lite0': EfficientNetLite0(),
}
