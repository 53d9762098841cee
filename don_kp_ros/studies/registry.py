"""Studies by their names, and their configurations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.evaluation.protocols.registry import STUDIES as FOLDER
from don_kp_ros.evaluation.protocols.registry import make_protocol
from don_kp_ros.resources import config_path
from don_kp_ros.studies.ablation import Ablation
from don_kp_ros.studies.absent import AbsentObjects
from don_kp_ros.studies.accuracy import AccuracyStudy
from don_kp_ros.studies.cases import CaseStudy
from don_kp_ros.studies.keypoints import KeypointStudy
from don_kp_ros.studies.leave_one_out import LeaveOneOut
from don_kp_ros.studies.one_photo import OnePhoto
from don_kp_ros.studies.paper_tables import PaperTables
from don_kp_ros.studies.real_photos import RealPhotos
from don_kp_ros.studies.study import Study

STUDIES: dict[str, type[Study]] = {
    study.kind: study
    for study in (
        LeaveOneOut,
        Ablation,
        AccuracyStudy,
        KeypointStudy,
        PaperTables,
        RealPhotos,
        OnePhoto,
        AbsentObjects,
    )
}


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study's configuration; raises ConfigurationError.

    path: a YAML file, or the name of one in config/studies/; overrides: `--key=value`.
    """
    path = configuration.find(path, config_path(FOLDER))
    mapping = configuration.override(configuration.load(path), overrides)
    kind = mapping.pop('kind', None)
    if not isinstance(kind, str) or kind not in STUDIES:
        raise ConfigurationError(f'{path}: kind is {kind!r}; allowed are {", ".join(STUDIES)}')
    study = STUDIES[kind]
    if not issubclass(study, CaseStudy):
        return configuration.read(study, mapping, str(path))
    measure = mapping.pop('measure', {'kind': 'held_views'})
    if not isinstance(measure, dict):
        raise ConfigurationError(f'{path}: measure is {measure!r}; a protocol is expected')
    cases = configuration.read(study, mapping, str(path))
    return dataclasses.replace(cases, measure=make_protocol(measure, f'{path}: measure'))
