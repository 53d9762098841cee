"""What a user points at in pictures, on the command line: for all of them, or for one by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from don_kp_ros.errors import RefusedError, did_you_mean

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Prompts:
    """Numbers that are given several times, by the picture they belong to; '' is every picture."""

    option: str
    given: dict[str, list[Numbers]] = field(default_factory=dict)

    @classmethod
    def read(cls, option: str, groups: Iterable[Sequence[str]] | None, count: int) -> Prompts:
        """Read `[NAME] NUMBER ...` with so many numbers each; raises RefusedError."""
        given: dict[str, list[Numbers]] = {}
        for group in groups or ():
            name, texts = ('', group) if len(group) == count else (group[0], group[1:])
            try:
                numbers = tuple(float(text) for text in texts)
            except ValueError:
                numbers = ()
            if len(numbers) != count or not all(0 <= number < 1e6 for number in numbers):
                raise RefusedError(
                    f'{option} is {" ".join(group)}; {count} numbers of at least 0 are expected, '
                    'pixels, with the name of a picture before them if they are for it alone'
                )
            given.setdefault(name, []).append(numbers)
        return cls(option, given)

    def of(self, picture: Path) -> list[Numbers]:
        """Return those of a picture, named with or without its suffix, or else everyone's."""
        own = [*self.given.get(picture.name, ()), *self.given.get(picture.stem, ())]
        return own or self.given.get('', [])

    def check(self, pictures: Sequence[Path]) -> None:
        """Raise RefusedError where a name is none of the pictures'."""
        known = {name for path in pictures for name in (path.name, path.stem)}
        for name in self.given:
            if name and name not in known:
                raise RefusedError(
                    f'{self.option} is for {name}, which is none of the {len(pictures)} pictures '
                    f'that get masks{did_you_mean(name, known)}'
                )
