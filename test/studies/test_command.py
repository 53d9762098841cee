"""`don_kp study`: cases, figures, and named errors."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.folder import DataError, ImageFolder
from don_kp_ros.evaluation import command as evaluation_command
from don_kp_ros.studies import command, trainings
from don_kp_ros.studies.ablation import Ablation
from don_kp_ros.studies.leave_one_out import LeaveOneOut
from don_kp_ros.studies.pictures import Pictures
from don_kp_ros.studies.registry import STUDIES, read_study
from don_kp_ros.studies.study import Outcome
from don_kp_ros.training import command as training_command

SMALL = [
    '--steps=2',
    '--overrides=[--network.backbone=resnet18, --weights=null, --network.channels=8, '
    '--network.dimension=8, --views.size=32, --pairs=1, --workers=0, --validation.queries=4, '
    '--preprocessing.input_size=64]',
    '--measure.pairs=3',
    '--measure.queries=8',
    '--measure.step=16',
    '--measure.resamples=20',
]


@pytest.fixture
def trained(train_by: Callable[..., list[str]]) -> list[str]:
    """Train in this process, which is quicker; list the cases that were trained."""

    def train(arguments: list[str], name: str) -> None:
        assert training_command.main(arguments) == 0

    return train_by(train)


def run(folder: Path, study: str, *arguments: str) -> int:
    output = folder.parent / 'out'
    options = ['--output', str(output), '--trainings', str(output / 'trainings')]
    return command.main([study, str(folder), *options, *SMALL, *arguments])


def results(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder.parent / 'out/results.json').read_text())
    return content


class TestCases:
    @pytest.mark.parametrize('kind', ['leave_one_out', 'ablation'])
    def test_every_study_has_a_configuration_of_its_name(self, kind: str) -> None:
        study = read_study(Path(kind), ['--measure.pairs=7', '--seeds=[3]'])
        assert (study.kind, study.seeds, study.measure.pairs) == (kind, (3,), 7)
        for case in study.cases(_many(study)):
            assert study.recipe(case, 3).settings  # its overrides are of true keys

    def test_another_protocol_can_measure(self) -> None:
        study = read_study(Path('ablation'), ['--measure={kind: posed, pairs: 3}'])
        assert (study.measure.kind, study.measure.pairs) == ('posed', 3)

    def test_each_object_is_left_out_once(self, folder: Path) -> None:
        first, second = LeaveOneOut().cases(Pictures.open(folder))
        assert (first.learned, first.held) == ((1, 3, 5, 7), (0, 2, 4, 6))
        assert (second.learned, second.held) == (first.held, first.learned)
        (only,) = LeaveOneOut(objects=1).cases(Pictures.open(folder))
        assert only.held in (first.held, second.held)

    def test_a_single_object_cannot_be_left_out(self, folder: Path) -> None:
        (folder / 'objects.txt').write_text('\n'.join(f'{i}.png cap' for i in range(8)))
        with pytest.raises(DataError, match=rf'{folder}: all pictures show one object, cap'):
            LeaveOneOut().cases(Pictures.open(folder))

    def test_an_ablation_holds_some_of_each_object(self, folder: Path) -> None:
        names = ['cap'] * 4 + ['mug'] * 4
        (folder / 'objects.txt').write_text(
            '\n'.join(f'{i}.png {name}' for i, name in enumerate(names))
        )
        off = {'A': ('--views.warp.rotation=0',), 'P': ('--views.warp.perspective=0',)}
        study = Ablation(augmentations=off, combinations=(('A', 'P'), ('P',), ()))
        cases = study.cases(Pictures.open(folder))
        assert [case.name for case in cases] == ['A + P', 'P', 'none']
        assert [case.overrides for case in cases] == [(), off['A'], (*off['A'], *off['P'])]
        for case in cases:
            assert sorted([*case.learned, *case.held]) == list(range(8))
            assert sorted(names[i] for i in case.held) == ['cap', 'mug']

    def test_the_papers_augmentations_are_turned_off(self, folder: Path) -> None:
        study = read_study(Path('ablation'))
        everything, *_, cropped = study.cases(Pictures.open(folder))
        on, off = (study.recipe(case, 0).settings.views for case in (everything, cropped))
        assert on.warp.rotation > 0 and on.warp.perspective > 0 and on.colour.probability > 0
        assert (off.warp.rotation, off.warp.perspective, off.colour.probability) == (0, 0, 0)
        assert off.warp.scale == on.warp.scale and off.warp.scale[0] < off.warp.scale[1]

    @pytest.mark.parametrize(
        ('arguments', 'named'),
        [
            (['--seeds=[]'], 'seeds is'),
            (['--seeds=[1, 1]'], 'seeds is'),
            (['--minutes=0'], 'minutes is 0'),
            (['--measure.kind=held'], 'measure: kind is'),
            (['--kind=[ablation]'], r'kind is \[.ablation.\]; allowed are'),
            (['--measure=3'], 'measure is 3'),
            (['--combinations=[[X]]'], 'combinations names X'),
            (['--zoom=1'], 'unknown key zoom'),
        ],
    )
    def test_what_is_not_allowed_is_named(self, arguments: list[str], named: str) -> None:
        with pytest.raises(ConfigurationError, match=named):
            read_study(Path('ablation'), arguments)


def _many(study: object) -> Pictures:
    files = tuple(Path(f'{i}.png') for i in range(8))
    return Pictures(Path('data'), files, files, (), (), ('one', 'two') * 4)


class TestLeaveOneOut:
    def test_each_object_is_measured_by_models_that_never_saw_it(
        self, folder: Path, trained: list[str], capsys: Any
    ) -> None:
        assert run(folder, 'leave_one_out', '--seeds', '0,1') == 0
        assert trained == ['without_0', 'without_0', 'without_1', 'without_1']
        content = results(folder)
        assert [case['name'] for case in content['cases']] == ['without 0', 'without 1']
        for case in content['cases']:
            assert (case['learned'], case['held'], case['pairs']) == (4, 4, 3)
            model = case['methods']['model']
            sigma, mean = (model['over_seeds']['auc'][key] for key in ('sigma', 'mean'))
            assert sigma is not None and mean == pytest.approx(model['auc'], abs=1e-3)
            assert set(case['methods']) > {'untrained', 'centroid', 'random pixel', 'dense SIFT'}
            assert len({kept['fingerprint'] for kept in case['trainings']}) == 2
            for kept in case['trainings']:
                assert (folder.parent / 'out/trainings' / kept['model']).is_file() and kept[
                    'steps'
                ] == 2
        whole = content['summary']
        each = [case['methods']['centroid']['auc'] for case in content['cases']]
        assert whole['methods']['centroid']['auc'] == pytest.approx(np.mean(each), abs=1e-3)
        held = sorted(path.name for path in (folder.parent / 'out/held/0/rgbs').iterdir())
        assert held == ['0.png', '2.png', '4.png', '6.png']
        page = (folder.parent / 'out/report.html').read_text()
        assert 'without 0' in page and 'centroid' in page and '&plusmn;' in page

        capsys.readouterr()
        assert run(folder, 'leave_one_out', '--seeds', '0,1') == 0
        assert len(trained) == 4 and 'trained before' in capsys.readouterr().out
        again = results(folder)
        assert all(again[key] == content[key] for key in content if key != 'run')


class TestMasks:
    def test_of_several_values_are_read_alike_everywhere(
        self, folder: Path, trained: list[str], capsys: Any
    ) -> None:
        for path in (folder / 'masks').iterdir():
            mask = np.minimum(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), 1)
            mask[-9:, -9:] = 200
            cv2.imwrite(str(path), mask)
        assert run(folder, 'leave_one_out', '--seeds=0') == 1
        assert '--mask-value N' in capsys.readouterr().err
        assert run(folder, 'leave_one_out', '--seeds=0', '--mask-value=1') == 0
        assert trained == ['without_0', 'without_1']

    def test_that_cannot_be_right_are_taken_where_they_are_trusted(
        self, folder: Path, trained: list[str], capsys: Any
    ) -> None:
        for path in (folder / 'masks').iterdir():
            cv2.imwrite(str(path), 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        options = ['leave_one_out', '--seeds=0', '--measure.pairs=1']
        assert run(folder, *options) == 1
        assert 'inverted' in capsys.readouterr().err and not trained
        (folder / 'objects.txt').write_text(
            ''.join(f'{number}.png {"red" if number % 2 else "blue"}\n' for number in range(8))
        )
        assert run(folder, *options, '--trust-masks') == 0
        assert len(trained) == 2


class TestAblation:
    def test_all_cases_are_measured_on_the_same_pairs(
        self, folder: Path, trained: list[str]
    ) -> None:
        assert run(folder, 'ablation', '--seeds=0', '--combinations=[[CJ, A, P, RSC], [P]]') == 0
        content = results(folder)
        all_of_them, alone = content['cases']
        assert trained == ['CJ_A_P_RSC', 'P'] and content['summary'] is None
        assert all_of_them['methods']['centroid'] == alone['methods']['centroid']
        assert all_of_them['methods']['untrained'] == alone['methods']['untrained']
        assert all_of_them['methods']['model']['over_seeds']['auc']['sigma'] is None
        held = folder.parent / 'out/held/held_pictures'
        pictures = ImageFolder.open(held)
        assert len(pictures.images) == 2 and len(pictures.negatives) == 1


def test_an_interrupted_study_says_how_to_go_on(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trainings, '_Process', interrupted)
    assert run(folder, 'leave_one_out') == 130
    assert 'stopped; the same command goes on' in capsys.readouterr().err


def test_the_default_folder_keeps_what_was_measured_of_others(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    others = folder.parent / 'others' / folder.name
    shutil.copytree(folder, others)
    monkeypatch.setattr(LeaveOneOut, 'run', lambda *_: Outcome('t', [{'AUC': 0.5}]))
    assert command.main(['leave_one_out', folder.name]) == 0
    file = Path(f'output/studies/{folder.name}-leave_one_out/results.json')
    before = file.read_bytes()
    assert command.main(['leave_one_out', str(others)]) == 1
    error = capsys.readouterr().err
    assert f'{file}: holds other results' in error and '--output' in error
    assert str(others) in error
    assert file.read_bytes() == before
    assert command.main(['leave_one_out', str(others), '--output', 'own']) == 0
    assert command.main(['leave_one_out', str(folder), '--minutes', '3']) == 0  # the same again
    content = json.loads(file.read_text())
    content['study']['kind'] = 'ablation'
    file.write_text(json.dumps(content))
    assert command.main(['leave_one_out', folder.name]) == 1
    assert f'{file}: holds other results' in capsys.readouterr().err


class TestBadInput:
    def fails(self, folder: Path, capsys: Any, protocol: str, *arguments: str) -> str:
        assert run(folder, protocol, *arguments) == 1
        assert not (folder.parent / 'out/trainings').exists()
        text: str = capsys.readouterr().err
        assert text.startswith('don_kp study: ') and 'Traceback' not in text
        return text

    def test_a_model_is_refused(self, folder: Path, capsys: Any) -> None:
        text = self.fails(folder, capsys, 'leave_one_out', '--model=m.safetensors')
        assert '--model is m.safetensors' in text and 'leave --model out' in text

    def test_a_bad_override_is_named_before_anything_is_trained(
        self, folder: Path, capsys: Any
    ) -> None:
        text = self.fails(folder, capsys, 'leave_one_out', '--overrides=[--views.zoom=3]')
        assert 'views.zoom' in text

    def test_a_broken_picture_is_named(self, folder: Path, capsys: Any) -> None:
        (folder / 'rgbs/0.png').write_bytes(b'broken')
        assert '0.png' in self.fails(folder, capsys, 'leave_one_out')

    def test_a_missing_folder_is_named(self, folder: Path, capsys: Any) -> None:
        missing = folder.with_name('elsewhere')
        folder.rename(missing)
        assert f'{folder}: no such folder' in self.fails(folder, capsys, 'ablation')


def test_what_is_no_study_is_named(folder: Path, capsys: Any) -> None:
    for name in ('held_views', 'nothing'):
        assert run(folder, name) == 1
        assert 'ablation, absent, accuracy, ' in capsys.readouterr().err
    assert evaluation_command.main([str(folder), '--protocol', 'nothing', '--model', 'm']) == 1
    text = capsys.readouterr().err
    assert 'folder, held_views' in text and 'ablation' not in text


class TestTables:
    @pytest.mark.parametrize(
        'name', ['accuracy', 'keypoints', 'real_photos', 'one_photo', 'paper_tables']
    )
    def test_the_configuration_says_what_the_study_does_by_default(self, name: str) -> None:
        study = read_study(Path(name))
        assert dataclasses.replace(study, description='') == STUDIES[name]()
