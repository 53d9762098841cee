"""Which of the objects that are marked in pictures is meant: one, or it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from don_kp_ros.annotation.formats.marks import Mark, Marked
from don_kp_ros.data.picture_file import DataError
from don_kp_ros.errors import did_you_mean

_LISTED = 12  # objects, or pictures, that a message names
Several = Literal['together', 'leave-out']
_BY = 'say which one by --object NAME|ID'


@dataclass(frozen=True)
class Wanted:
    """What a user wants of all pictures ('') or of one; several: of marks in one picture."""

    objects: dict[str, str] = field(default_factory=dict)
    several: Several | None = None

    @classmethod
    def read(
        cls, texts: Sequence[str] | None, several: Several | None, pictures: Sequence[Marked]
    ) -> Wanted:
        """Read `[PICTURE=]NAME|ID`, where a picture has such a name; raises DataError."""
        names = {marked.name for marked in pictures}
        objects: dict[str, str] = {}
        for text in texts or ():
            picture, _, wanted = text.partition('=')
            key, value = (picture, wanted) if wanted and picture in names else ('', text)
            if objects.setdefault(key, value) != value:
                of = f' of {key}' if key else ''
                raise DataError(f'--object{of} is {objects[key]} and {value}; one is imported')
        return cls(objects, several)


@dataclass(frozen=True)
class Choice:
    """Pictures with the marks of the object in each, and what was left out, in sentences."""

    chosen: tuple[tuple[Marked, tuple[Mark, ...]], ...]
    left_out: tuple[str, ...]


def choose(source: object, pictures: Sequence[Marked], wanted: Wanted) -> Choice:
    """Find the object that is meant in each picture; raises DataError where that is not clear."""
    if not any(marked.marks for marked in pictures):
        raise DataError(f'{source}: nothing is marked in its {_pictures(len(pictures))}')
    named = any(mark.name for marked in pictures for mark in marked.marks)
    if not named and '' in wanted.objects and len(pictures) > 1:
        raise DataError(
            f'{source}: its marks have no names, and numbers in each picture of their own; say '
            f'--object {pictures[0].name}={wanted.objects[""]} and so on'
        )
    asked = [marked for marked in pictures if marked.name not in wanted.objects]
    everyone = _class(source, pictures, wanted) if named and asked else None
    found: list[tuple[Marked, tuple[Mark, ...]]] = []
    absent, crowded, several = [], [], []
    for marked in pictures:
        own = wanted.objects.get(marked.name, None if named else wanted.objects.get(''))
        if own is not None:
            own_marks = _called(source, marked, own)
        elif named:
            own_marks = tuple(m for m in marked.marks if (m.name, m.number) == everyone)
        elif len(marked.marks) < 2:
            own_marks = marked.marks
        else:
            raise DataError(
                f'{source}: in {marked.name} {_seen(marked)}, without names; say which one by '
                f'--object {marked.name}=ID'
            )
        if not own_marks:
            absent.append(marked.name)
        elif any(mark.crowd for mark in own_marks):
            crowded.append(marked.name)
        elif len(own_marks) > 1 and wanted.several != 'together':
            several.append(marked.name)
        else:
            found.append((marked, own_marks))
    if several and wanted.several is None:
        raise DataError(
            f'{source}: marks the object several times in {_listed(several)}; say --several '
            'together if these are parts of one, or --several leave-out'
        )
    notes = (
        (absent, 'the object is not marked there'),
        (crowded, 'it is marked in a crowd (iscrowd)'),
        (several, 'it is marked several times'),
    )
    if not found:
        told = '; '.join(f'in {_listed(names)} {why}' for names, why in notes if names)
        raise DataError(f'{source}: no picture is left: {told}')
    left_out = tuple(f'left out {_listed(names)}: {why}' for names, why in notes if names)
    return Choice(tuple(found), left_out)


def _class(source: object, pictures: Sequence[Marked], wanted: Wanted) -> tuple[str, int | None]:
    """Find the class (name, number) that is meant in all pictures."""
    every = {(mark.name, mark.number): mark for marked in pictures for mark in marked.marks}
    counts = Counter(
        one for marked in pictures for one in {(mark.name, mark.number) for mark in marked.marks}
    )
    order = sorted(counts, key=lambda one: (-counts[one], one[0]))
    told = {one: f'{every[one].told} in {_pictures(counts[one])}' for one in order}
    listed = ', '.join([*told.values()][:_LISTED]) + (', ...' if len(told) > _LISTED else '')
    text = wanted.objects.get('')
    if text is None:
        if len(counts) > 1:
            raise DataError(f'{source}: marks {len(counts)} kinds of objects: {listed}; {_BY}')
        return order[0]
    fits = [one for one in order if every[one].is_called(text)]
    if len(fits) > 1:
        both = ' and '.join(told[one] for one in fits)
        raise DataError(f'{source}: --object {text} may be {both}; give the other of name and ID')
    if not fits:
        hint = did_you_mean(text, [name for name, _ in counts])
        raise DataError(f'{source}: no object is {text}{hint}; there are {listed}')
    return fits[0]


def _called(source: object, marked: Marked, wanted: str) -> tuple[Mark, ...]:
    """Find a picture's marks by name or number; raises DataError where there are none."""
    found = tuple(mark for mark in marked.marks if mark.is_called(wanted))
    if not found:
        raise DataError(f'{source}: in {marked.name} no object is {wanted}; {_seen(marked)}')
    return found


def _seen(marked: Marked) -> str:
    told = [mark.told for mark in marked.marks]
    more = ', ...' if len(told) > _LISTED else ''
    return f'there are {len(told)} marks: {", ".join(told[:_LISTED])}{more}'


def _listed(names: Sequence[str]) -> str:
    more = ', ...' if len(names) > _LISTED else ''
    return f'{_pictures(len(names))} ({", ".join(names[:_LISTED])}{more})'


def _pictures(count: int) -> str:
    return f'{count} picture{"s" * (count != 1)}'
