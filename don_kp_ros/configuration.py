"""Typed configurations: plain dataclasses, read from mappings and checked when read."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from don_kp_ros.errors import did_you_mean

Configuration = TypeVar('Configuration')
Range = tuple[float, float]  # the lowest and the highest value that something may take


class ConfigurationError(ValueError):
    """A configuration holds something that it must not; the message names the key."""


class UnknownKeyError(ConfigurationError):
    """A configuration holds a key that is not known here."""


def read(cls: type[Configuration], mapping: Mapping[str, Any], where: str) -> Configuration:
    """Build the dataclass `cls` from a mapping, nested dataclasses from nested mappings.

    Keys left out keep their defaults. `where` names the source in errors (a file, a command line).
    Raises ConfigurationError naming the key and what is allowed: for unknown keys, wrong types,
    missing keys, and for what a dataclass's own __post_init__ refuses with a ValueError.
    """
    return _dataclass(cls, mapping, where, '')


def within(name: str, value: float | Range, lowest: float, highest: float) -> None:
    """Raise ValueError naming a key whose value, or range of values, is not all allowed."""
    ends = value if isinstance(value, tuple) else (value, value)
    if not lowest <= ends[0] <= ends[1] <= highest:
        shown, what = (list(ends), '[low, high] within ') if ends is value else (value, '')
        raise ValueError(f'{name} is {shown}; allowed is {what}{lowest:.10g} to {highest:.10g}')


def find(path: Path | str, folder: Path) -> Path:
    """Find a YAML file, or one by its bare name in a folder; raises ConfigurationError.

    What can only be a file's path is returned as it is; reading it tells whether it is there.
    """
    path = Path(path)
    if path.is_file() or path.name != str(path) or path.suffix:
        return path
    named = folder / f'{path}.yaml'
    if not named.is_file():
        names = sorted(own.stem for own in folder.glob('*.yaml'))
        raise ConfigurationError(
            f'{path}: neither a file nor the name of one in {folder}; those are '
            f'{", ".join(names)}{did_you_mean(str(path), names)}'
        )
    return named


def load(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping."""
    try:
        content = _yaml(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigurationError(f'{path}: cannot be read ({error.strerror})') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'{path}: not valid YAML: {error}') from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f'{path}: holds {type(content).__name__}; a mapping is expected')
    return content


def override(mapping: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the mapping with command line overrides `--key.sub=value`; values are YAML."""
    result = _copied(mapping)
    for argument in arguments:
        name, separator, text = argument.removeprefix('--').partition('=')
        if not argument.startswith('--') or not separator or not name:
            raise ConfigurationError(f'{argument}: overrides are written --key.sub=value')
        *parents, last = name.split('.')
        section = result
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise ConfigurationError(f'{argument}: {parent} is a value, not a section')
        try:
            section[last] = _yaml(text)
        except yaml.YAMLError as error:
            raise ConfigurationError(f'{argument}: not valid YAML: {error}') from error
    return result


def plain(configuration: Any) -> dict[str, Any]:
    """Return a dataclass as nested mappings and lists, as JSON and YAML take them."""
    return typing.cast(dict[str, Any], _plain(dataclasses.asdict(configuration)))


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice in a mapping: PyYAML drops the first one silently."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == 'tag:yaml.org,2002:merge':
                continue
            first = lines.get((key.tag, key.value))
            if first is not None:
                problem = f'the key {key.value} of line {first} is written again; keep one'
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            lines[key.tag, key.value] = key.start_mark.line + 1
        return node


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _copied(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copied(value) if isinstance(value, Mapping) else value
        for key, value in mapping.items()
    }


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _dataclass(cls: Any, mapping: Any, where: str, prefix: str) -> Any:
    name = prefix.rstrip('.') or 'the configuration'
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(f'{where}: {name} is {mapping!r}; a mapping is expected')
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in mapping:
        if key not in fields:
            allowed = ', '.join(sorted(fields))
            hint = did_you_mean(str(key), fields, prefix)
            raise UnknownKeyError(
                f'{where}: unknown key {prefix}{key}; allowed are {allowed}{hint}'
            )
    hints = _hints(cls)
    values = {
        key: _value(hints[key], value, where, f'{prefix}{key}') for key, value in mapping.items()
    }
    try:
        return cls(**values)
    except ConfigurationError:
        raise
    except TypeError as error:
        raise ConfigurationError(f'{where}: {name}: {error}') from error
    except ValueError as error:
        raise ConfigurationError(f'{where}: {prefix}{error}') from error


def _value(hint: Any, value: Any, where: str, key: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, where, f'{key}.')
    if origin is Literal:
        if value in arguments:
            return value
        allowed = ', '.join(map(str, arguments))
        raise ConfigurationError(f'{where}: {key} is {value!r}; allowed are {allowed}')
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [option for option in arguments if option is not type(None)]
        if len(options) == 1:
            return _value(options[0], value, where, key)
    if origin in (tuple, list) and isinstance(value, Sequence) and not isinstance(value, str):
        if origin is list or arguments[-1] is Ellipsis:
            items = [_value(arguments[0], item, where, key) for item in value]
            return origin(items)
        if len(value) == len(arguments):
            return tuple(
                _value(item_hint, item, where, f'{key}[{index}]')
                for index, (item_hint, item) in enumerate(zip(arguments, value, strict=True))
            )
    if origin is dict and isinstance(value, Mapping):
        return {
            str(name): _value(arguments[1], item, where, f'{key}.{name}')
            for name, item in value.items()
        }
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        # YAML 1.1 reads 1e-3, without a dot, as text.
        with contextlib.suppress(ValueError):
            number = float(value)
            if not math.isnan(number):
                return number
    elif isinstance(hint, type) and type(value) is hint:
        return value
    expected = hint.__name__ if isinstance(hint, type) else str(hint).replace('typing.', '')
    raise ConfigurationError(f'{where}: {key} is {value!r}; {expected} is expected')
