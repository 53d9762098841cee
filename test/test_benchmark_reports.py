"""What benchmarks keep of an interrupted run, and the numbers that they are given."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import (
    object_pose,
    refinement,
    refinement_chained,
    refinement_sizes,
    refinement_trained,
    report,
    templates,
)
from benchmarks.report import kept, number_given


def meshes(folder: Path, print_: str = 'red') -> list[Path]:
    for name in ('box', 'can'):
        (folder / name).mkdir(parents=True)
        (folder / name / 'textured.obj').write_text('v 0 0 0')
        (folder / name / 'print.png').write_text(print_)
    return sorted(folder.glob('*/textured.obj'))


def test_work_is_kept_for_equal_meshes_alone(tmp_path: Path) -> None:
    first = meshes(tmp_path / 'a' / 'meshes')
    folder = kept('refinement', 'model', 0, data=first)
    assert folder == kept('refinement', 'model', 0, data=meshes(tmp_path / 'elsewhere'))
    others = [
        kept('refinement', 'model', 1, data=first),
        kept('refinement', 'other', 0, data=first),
        kept('templates', 'model', 0, data=first),
        kept('refinement', 'model', 0, data=first[:1]),
        kept('refinement', 'model', 0, data=meshes(tmp_path / 'b' / 'meshes', 'blue')),
        kept('refinement', 'model', 0),
    ]
    assert len({folder, *others}) == 1 + len(others)


def test_what_lies_in_folders_beside_a_mesh_counts_too(tmp_path: Path) -> None:
    files = meshes(tmp_path)
    without = kept('refinement', data=files)
    (inner := tmp_path / 'box' / 'google_16k').mkdir()
    (inner / 'nontextured.ply').write_text('ply')
    folders = {without, kept('refinement', data=files)}
    (inner / 'nontextured.ply').write_text('another')
    assert len({*folders, kept('refinement', data=files)}) == 3


def test_without_pairs_only_single_objects_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trial(index: int, number: int, *_: object) -> list[dict[str, object]]:
        assert number == 1
        row = {'index': index, 'kind': 'cap', 'poses': [], 'refused': 'uncertain'}
        return [{**row, 'condition': condition} for condition in ('one view', 'two views')]

    model = SimpleNamespace(fingerprint='feed')
    monkeypatch.setattr(object_pose, 'DescriptorModel', SimpleNamespace(load=lambda _: model))
    monkeypatch.setattr(object_pose, 'trial', trial)
    monkeypatch.setattr(object_pose, 'OUTPUT', tmp_path)
    monkeypatch.setattr(report, 'OUTPUT', tmp_path)
    monkeypatch.setenv('VIEWS', '1')
    monkeypatch.setenv('PAIRS', '0')
    assert object_pose.main() == 1
    written = json.loads((tmp_path / 'object_pose.json').read_text())
    assert [row['condition'] for row in written['rows'] if row['kind'] == 'all'] == [
        'one view', 'two views',
    ]  # fmt: skip
    assert not any('two in view' in target['name'] for target in written['targets'])


@pytest.mark.parametrize('text', ['0', '-1', '1.5', 'many'])
def test_a_number_that_cannot_be_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SCENES', text)
    with pytest.raises(SystemExit, match=f"SCENES is '{text}'; give a whole number, 1 or more"):
        number_given('SCENES', 3)


def test_without_one_the_default_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('SCENES', raising=False)
    assert number_given('SCENES', 3) == 3
    monkeypatch.setenv('SCENES', '5')
    assert number_given('SCENES', 3) == 5


@pytest.mark.parametrize(
    ('main', 'name'),
    [
        (object_pose.main, 'VIEWS'),
        (refinement.main, 'CLUTTERED'),
        (refinement_trained.main, 'SCENES'),
        (refinement_chained.main, 'VIEWS'),
        (refinement_sizes.main, 'SCENES'),
        (templates.main, 'SCENES'),
    ],
)
def test_nothing_to_measure_is_refused(
    main: Callable[[], int], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, '0')
    with pytest.raises(SystemExit, match=f"{name} is '0'"):
        main()
