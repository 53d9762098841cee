"""Losses, the training module and the training command."""

import os

# OpenMP's threads otherwise spin while they wait: where the loader or another program wants the
# processor too, a step costs several times as much. Read once, when torch is first imported.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

# Lightning imports torchvision where it is installed, so that must be mended first.
import don_kp_ros.networks.torchvision_import  # noqa: F401
