"""The devices that networks run on."""

from __future__ import annotations

from don_kp_ros.configuration import ConfigurationError


def check_device(name: str) -> None:
    """Raise ConfigurationError where torch cannot use a device."""
    import torch  # slow to import

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f'--device {name} cannot be used ({reason}); cpu can') from error
