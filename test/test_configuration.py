from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.resources import config_path
from don_kp_ros.training.settings import TrainingConfiguration


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    limits: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f'rate is {self.rate}; it must not be negative')


@dataclass(frozen=True)
class Outer:
    steps: int = 3
    kind: Literal['a', 'b'] = 'a'
    active: bool = True
    folder: Path | None = None
    names: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)


def test_reads_nested_values_and_keeps_defaults() -> None:
    mapping = {'kind': 'b', 'folder': 'x/y', 'names': ['n'], 'inner': {'limits': [1, 2.5]}}
    mapping['weights'] = {'a': 1}
    assert configuration.read(Outer, mapping, 'here') == Outer(
        kind='b',
        folder=Path('x/y'),
        names=['n'],
        weights={'a': 1.0},
        inner=Inner(limits=(1.0, 2.5)),
    )


@pytest.mark.parametrize(
    ('mapping', 'parts'),
    [
        ({'step': 3}, ['step', 'steps', 'kind', 'inner', 'did you mean steps?']),
        ({'inner': {'raet': 1}}, ['inner.raet', 'limits', 'rate', 'did you mean inner.rate?']),
        ({'steps': 1.5}, ['steps', '1.5', 'int']),
        ({'steps': True}, ['steps', 'True', 'int']),
        ({'active': 1}, ['active', 'bool']),
        ({'kind': 'c'}, ['kind', "'c'", 'a, b']),
        ({'inner': 3}, ['inner', 'mapping']),
        ({'inner': {'rate': 'fast'}}, ['inner.rate', "'fast'", 'float']),
        ({'inner': {'rate': -1}}, ['inner.rate', '-1', 'negative']),
        ({'inner': {'limits': [1]}}, ['inner.limits']),
        ({'names': 'n'}, ['names', "'n'"]),
    ],
)
def test_an_error_names_source_key_and_what_is_allowed(
    mapping: dict[str, object], parts: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration.read(Outer, mapping, 'file.yaml')
    assert all(part in str(caught.value) for part in ['file.yaml', *parts])


def test_a_key_that_is_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration.read(Outer, {'zzz': 1}, 'file.yaml')
    assert 'unknown key zzz' in str(caught.value)
    assert 'did you mean' not in str(caught.value)


@pytest.mark.parametrize('value', [0, 1.0, 0.5, (0.0, 1.0), (0.5, 0.5)])
def test_what_lies_within_passes(value: float | configuration.Range) -> None:
    configuration.within('rate', value, 0, 1)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (1.5, r'rate is 1\.5; allowed is 0 to 1$'),
        (float('nan'), 'rate is nan'),
        ((0.5, 1.5), r'rate is \[0\.5, 1\.5\]; allowed is \[low, high\] within 0 to 1$'),
        ((0.5, 0.2), r'rate is \[0\.5, 0\.2\]'),
        ((float('nan'), 0.2), 'rate is'),
    ],
)
def test_what_lies_outside_is_named(value: float | configuration.Range, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configuration.within('rate', value, 0, 1)


def test_overrides_reach_nested_keys_and_leave_the_mapping_alone() -> None:
    mapping = {'steps': 1, 'inner': {'rate': 0.1}}
    changed = configuration.override(mapping, ['--inner.rate=1e-3', '--names=[a, b]', '--steps=7'])
    assert configuration.read(Outer, changed, 'here') == Outer(
        steps=7, names=['a', 'b'], inner=Inner(rate=0.001)
    )
    assert mapping == {'steps': 1, 'inner': {'rate': 0.1}}


@pytest.mark.parametrize('argument', ['steps=3', '--steps', '--=3', '--steps.sub=3', '--names=[a'])
def test_a_bad_override_is_named(argument: str) -> None:
    with pytest.raises(ConfigurationError, match=argument.replace('[', r'\[')):
        configuration.override({'steps': 1}, [argument])


def test_plain_is_read_back() -> None:
    value = Outer(folder=Path('f'), inner=Inner(limits=(0.25, 0.5)))
    assert configuration.read(Outer, configuration.plain(value), 'here') == value


def test_files_that_hold_no_mapping_are_errors(tmp_path: Path) -> None:
    for name, text in {'list.yaml': '- 1', 'broken.yaml': 'a: [', 'empty.yaml': ''}.items():
        (tmp_path / name).write_text(text)
    assert configuration.load(tmp_path / 'empty.yaml') == {}
    for name in ('list.yaml', 'broken.yaml', 'missing.yaml'):
        with pytest.raises(ConfigurationError, match=name):
            configuration.load(tmp_path / name)


def test_a_key_that_is_written_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'twice.yaml'
    path.write_text('simulation: {speed: 1}\nhardware:\n  speed: 0.2\nhardware:\n  force: 20\n')
    with pytest.raises(ConfigurationError, match=r'(?s)twice\.yaml.*hardware of line 2.*line 4'):
        configuration.load(path)
    with pytest.raises(ConfigurationError, match=r'(?s)--inner=.*rate of line 1'):
        configuration.override({}, ['--inner={rate: 0.1, rate: 0.2}'])


def test_merged_keys_may_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / 'merged.yaml'
    path.write_text('a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\n')
    assert configuration.load(path) == {
        'a': {'x': 1, 'y': 2},
        'b': {'x': 3, 'y': 2},
        'c': {'x': 3, 'y': 4},
    }


def test_a_file_is_found_by_its_path_or_by_a_name_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = config_path('training')
    assert configuration.find('joint', folder).parent == folder
    (tmp_path / 'joint').touch()
    assert configuration.find('joint', folder) == Path('joint')
    for elsewhere in ('mined.yaml', 'my/mined'):  # not there, which reading tells
        assert configuration.find(elsewhere, folder) == Path(elsewhere)
    with pytest.raises(ConfigurationError, match=r'none: neither .*joint.*nt_xent'):
        configuration.find('none', folder)


def test_the_default_is_spelled_out() -> None:
    path = Path('config/training/joint.yaml')
    spelled = configuration.read(TrainingConfiguration, configuration.load(path), str(path))
    assert spelled == TrainingConfiguration()


@pytest.mark.parametrize('value', ['.nan', 'nan'])
def test_what_is_no_number_is_refused(value: str) -> None:
    mapping = configuration.override({}, [f'--inner.limits=[0, {value}]'])
    with pytest.raises(ConfigurationError, match=r'inner\.limits\[1\] is .*float is expected'):
        configuration.read(Outer, mapping, 'here')


@pytest.mark.parametrize('path', sorted(Path('config/training').glob('*.yaml')), ids=str)
def test_shipped_configurations_are_valid(path: Path) -> None:
    configuration.read(TrainingConfiguration, configuration.load(path), str(path))
