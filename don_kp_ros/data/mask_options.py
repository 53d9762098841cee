"""What a user says of masks, on every command line that reads them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from don_kp_ros.configuration import ConfigurationError


@dataclass(frozen=True)
class MaskOptions:
    """How masks are read.

    values: those of the object's pixels, a palette's index, or 0xRRGGBB of a colour; none: masks
    have two values. trust: take masks that cannot be right.
    """

    values: tuple[int, ...] = ()
    trust: bool = False

    @classmethod
    def read(cls, arguments: argparse.Namespace) -> MaskOptions:
        """Take them from parsed arguments; raises ConfigurationError."""
        try:
            values = tuple(int(text, 0) for text in arguments.mask_value or ())
        except ValueError as error:
            raise ConfigurationError(
                f'--mask-value is {", ".join(arguments.mask_value)}; whole numbers are expected, '
                'or 0xRRGGBB for a colour'
            ) from error
        return cls(values, arguments.trust_masks)

    def overrides(self) -> list[str]:
        """Say what is not the default as overrides of a training's configuration."""
        values = [f'--masks.values={list(self.values)}'] if self.values else []
        return values + ['--masks.trust=true'] * self.trust


def add_mask_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `MaskOptions.read` takes."""
    parser.add_argument(
        '--mask-value',
        metavar='N',
        action='append',
        help="value of the object's pixels in masks of several values: a number, a palette's "
        'index, or 0xRRGGBB; again for more of them',
    )
    parser.add_argument(
        '--trust-masks', action='store_true', help='take masks that seem to be wrong'
    )
