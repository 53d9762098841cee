"""Losses, the training module and the training command."""

# Lightning imports torchvision where it is installed, so that must be mended first.
import don_kp_ros.networks.torchvision_import  # noqa: F401
