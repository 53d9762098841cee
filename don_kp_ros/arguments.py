"""How commands read their arguments: nothing is abbreviated, and what is mistyped is told."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from don_kp_ros.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser without abbreviations, whose errors ask "did you mean ...?".

    overrides: what is no option of this parser is returned by `parse_known_args`, where it may be
    a key of a configuration: --key.sub=value.
    """

    def __init__(self, prog: str, overrides: bool = False, **named: Any) -> None:
        super().__init__(prog, allow_abbrev=False, **named)
        self._overrides = overrides
        self._given: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; ends the process where one is an unknown option."""
        self._given = list(sys.argv[1:] if args is None else args)
        parsed, unknown = super().parse_known_args(self._given, namespace)
        if (not self._overrides and unknown) or any(map(self._is_option, unknown)):
            self.error(f'unrecognized arguments: {" ".join(unknown)}')
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """End the process, with the message and the option that was probably meant."""
        super().error(message + self.meant(filter(self._is_option, self._given)))

    def meant(self, given: Iterable[str]) -> str:
        """Return '; did you mean --name?' where one of these is nearly an option, else ''."""
        options = [name.lstrip('-') for name in self._option_string_actions]
        names = (text.partition('=')[0].lstrip('-') for text in given)
        hints = (did_you_mean(name, options, '--') for name in names if name not in options)
        return next(filter(None, hints), '')

    def _is_option(self, text: str) -> bool:
        return text.startswith('-') and not (self._overrides and '=' in text)


def positive(text: str) -> float:
    """Read a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f'{text!r}; it must be a number above 0')
    return value
