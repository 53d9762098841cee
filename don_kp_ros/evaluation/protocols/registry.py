"""Protocols by their names, and their configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.evaluation.protocols.folder import Folder
from don_kp_ros.evaluation.protocols.held_views import HeldViews
from don_kp_ros.evaluation.protocols.invariance import Invariance
from don_kp_ros.evaluation.protocols.named_points import NamedPoints
from don_kp_ros.evaluation.protocols.posed import Posed
from don_kp_ros.evaluation.protocols.protocol import Protocol
from don_kp_ros.evaluation.protocols.scenes import Scenes
from don_kp_ros.evaluation.protocols.turned import Turned
from don_kp_ros.resources import config_path

FOLDER, STUDIES = 'evaluation', 'studies'  # of configurations, below config/
PROTOCOLS: dict[str, type[Protocol]] = {
    protocol.kind: protocol
    for protocol in (HeldViews, Folder, Posed, Scenes, NamedPoints, Invariance, Turned)
}


def read_protocol(path: Path, overrides: Sequence[str] = ()) -> Protocol:
    """Read a protocol's configuration; raises ConfigurationError.

    path: a YAML file, or the name of one in config/evaluation/; overrides: `--key=value`.
    """
    _refuse_study(path)
    path = configuration.find(path, config_path(FOLDER))
    mapping = configuration.override(configuration.load(path), overrides)
    return make_protocol(mapping, str(path))


def make_protocol(mapping: Mapping[str, Any], where: str) -> Protocol:
    """Make the protocol of a mapping's `kind`; raises ConfigurationError naming `where`."""
    settings = dict(mapping)
    kind = settings.pop('kind', None)
    _refuse_study(kind)
    if not isinstance(kind, str) or kind not in PROTOCOLS:
        raise ConfigurationError(f'{where}: kind is {kind!r}; allowed are {", ".join(PROTOCOLS)}')
    return configuration.read(PROTOCOLS[kind], settings, where)


def _refuse_study(name: object) -> None:
    if (config_path(STUDIES) / f'{name}.yaml').is_file():
        raise ConfigurationError(
            f'{name} is a study, which trains models of its own; the command is '
            f'don_kp study {name} DATA'
        )
