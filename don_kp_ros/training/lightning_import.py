"""The one place where Lightning is imported, after what mends the torchvision that it imports."""

import don_kp_ros.networks.torchvision_import  # noqa: F401, I001

import lightning
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

__all__ = ['MisconfigurationException', 'TensorBoardLogger', 'lightning']
