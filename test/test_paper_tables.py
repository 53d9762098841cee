"""Which settings the benchmark of paper 1's tables trains, and how it puts figures together."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import paper_tables, runs
from benchmarks.accuracy import Split
from benchmarks.paper_tables import PUBLISHED, Budget, Case, Result
from don_kp_ros.data.folder import DataError, Sample
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.pck import Accuracy
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration

NOTHING = PairSet('nothing', [], [], [])


@pytest.fixture(autouse=True)
def _checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the checkout, without the variables that a benchmark is given."""
    monkeypatch.chdir(Path(__file__).parents[1])
    for variable in ('BUDGET', 'DIMENSIONS', 'SEEDS', 'JOBS', 'MINUTES', 'EPOCHS'):
        monkeypatch.delenv(variable, raising=False)


def budget(name: str, monkeypatch: pytest.MonkeyPatch, gpu: bool = True) -> Budget:
    monkeypatch.setenv('BUDGET', name)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    return Budget.read()


def result(auc: float, steps: int, seed: int = 0) -> Result:
    empty = Checkpoint(NetworkConfiguration(), Preprocessing(), {}, 0.0, {'steps': steps})
    accuracy = Accuracy(100, auc, 3.0, 0.5, 0.75, 0.875)
    return Result(Case('mined', 16, 64), seed, runs.Run(empty, 1.0, 'c'), accuracy)


def test_every_cell_of_the_tables_is_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = paper_tables.chosen_cases()
    assert len(cases) == len(set(cases)) == 20
    assert {D for method, N, D in cases if method == 'mined' and N == 16} == {64, 128, 256, 512}
    untold = {case for case in cases if PUBLISHED[case] is None}
    assert untold == {Case('NT-Xent', 128, D) for D in (64, 128, 256, 512)}
    monkeypatch.setenv('DIMENSIONS', '3,64')
    assert paper_tables.chosen_cases() == [
        Case('NT-Xent', 128, 3),
        Case('NT-Xent', 128, 64),
        Case('mined', 128, 3),
        Case('mined', 128, 64),
        Case('mined', 16, 64),
    ]


def test_published_memory_grows_with_the_descriptor() -> None:
    for method, number in (('NT-Xent', 128), ('mined', 128), ('mined', 16)):
        printed = [row for case, row in PUBLISHED.items() if row and case[:2] == (method, number)]
        sizes = [row.gigabytes for row in printed]
        assert sizes == sorted(sizes)  # as the paper's tables do: a slip of the pen would not
        assert [row.auc for row in printed] == sorted(row.auc for row in printed)


def test_what_cannot_be_run_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match='BUDGET is huge; allowed are cpu, paper'):
        budget('huge', monkeypatch)
    with pytest.raises(DataError, match=r'no CUDA device.*BUDGET=cpu'):
        budget('paper', monkeypatch, gpu=False)
    assert paper_tables.main() == 2
    assert 'no CUDA device' in capsys.readouterr().err
    monkeypatch.setenv('DIMENSIONS', '3,100')
    with pytest.raises(DataError, match='DIMENSIONS holds 100; allowed are 3, 8, 16'):
        paper_tables.chosen_cases()


def test_the_paper_is_trained_as_it_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = budget('paper', monkeypatch)
    assert (paper.length, paper.seeds) == (2500, ('0', '1', '2'))
    mined = paper.settings(Case('mined', 16, 512))
    contrasted = paper.settings(Case('NT-Xent', 128, 3))
    for settings, D in ((mined, 512), (contrasted, 3)):
        assert settings.network.backbone == 'resnet34'
        assert (settings.network.dimension, settings.pairs) == (D, 1)
        assert settings.views.size**2 == pytest.approx(640 * 480, rel=0.04)
        assert settings.optimiser.schedule == 'constant'
    assert mined.network.keypoints is not None
    assert mined.network.keypoints.number == 16
    assert (mined.loss.descriptors, mined.loss.keypoints.margin) == ('none', 2)
    assert (mined.optimiser.learning_rate, mined.optimiser.weight_decay) == (1e-3, 0)
    assert contrasted.network.keypoints is None
    assert (contrasted.loss.descriptors, contrasted.views.queries) == ('nt_xent_sampled', 128)
    assert contrasted.optimiser.learning_rate == 3e-4
    assert contrasted.optimiser.weight_decay == 1e-4


@pytest.mark.parametrize(('name', 'minutes', 'steps'), [('cpu', 2.0, None), ('paper', None, 7500)])
def test_a_budget_is_minutes_or_epochs(
    name: str, minutes: float | None, steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    learned = [Sample(Path(f'{i}.png'), pixels, pixels[..., 0]) for i in range(3)]
    asked = {}

    def trained(*arguments: object, **options: object) -> runs.Run:
        asked.update(options, minutes=arguments[3])
        return result(0.5, 1).run

    monkeypatch.setattr(paper_tables, 'trained', trained)
    split = Split(learned, NOTHING, None)
    paper_tables._train(budget(name, monkeypatch), Case('mined', 128, 8), 0, split, [])
    assert (asked['minutes'], asked['steps']) == (minutes, steps)


def test_a_row_holds_means_over_seeds_beside_what_is_published() -> None:
    case = Case('mined', 16, 64)
    row = paper_tables.row(case, [result(0.8, 100), result(0.9, 200, 1), result(0.7, 300, 2)], 0.5)
    assert (row['auc'], row['deviation'], row['steps']) == (0.8, 0.1, 200)
    assert (row['published in'], row['AUC, other metric']) == ('table 3', '0.948 ± 0.009')
    assert (row['GB'], row['published GB']) == (0.5, 3.799)
    alone = paper_tables.row(Case('NT-Xent', 128, 64), [result(0.8, 100)], 0.5)
    assert (alone['deviation'], alone['published GB']) == ('', '')
    assert alone.keys() == row.keys()


def test_the_published_metric_prefers_a_constant_to_the_truth() -> None:
    diagonal = np.array([[5.0, 5.0], [80.0, 80.0]])
    # A cosine of 1 is rounded: whether it counts at k = 100 is worth half a step.
    assert paper_tables.published_auc(diagonal, diagonal) == pytest.approx(1, abs=0.51 / 99)
    # Swapped, (500, 200) meets (200, 500) at a cosine of 20/29: right for k up to 68.
    aside = np.array([[200.0, 500.0]])
    assert paper_tables.published_auc(aside, aside) == pytest.approx(67.5 / 99)
    assert paper_tables.published_auc([[300.0, 300.0]], aside) > 67.5 / 99


def test_memory_hardly_depends_on_the_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_tables, '_PICTURE', (192, 256))
    small, large = (paper_tables.memory(Case('NT-Xent', 128, D)) for D in (3, 512))
    # A tensor of N x H x W x D, as published, would be 12.9 GB at D = 512.
    assert 0.02 < small < large < 1.25 * small


def test_a_length_in_steps_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Path('config/training/mined.yaml').resolve()
    monkeypatch.chdir(tmp_path)
    commands: list[list[str]] = []

    def refuse(command: list[str], log: Path | None) -> float:
        commands.append(command)
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(runs, '_run', refuse)
    for minutes, steps in ((3.0, None), (None, 3)):
        with pytest.raises(subprocess.CalledProcessError):
            runs.trained('x', [], config, minutes, 0, steps=steps)
    by_time, by_steps = (' '.join(command) for command in commands)
    assert '--cpu-minutes 2.79 --accelerator=cpu' in by_time
    assert '--steps 3 --accelerator=auto' in by_steps
    assert len(list((tmp_path / 'output/bench/runs').iterdir())) == 2


def test_processor_time_is_that_of_the_command_alone(tmp_path: Path) -> None:
    log = tmp_path / 'log'
    busy = 'import time\nwhile time.process_time() < 0.5: pass\nprint("done")'
    assert runs._run([sys.executable, '-c', busy], log) >= 0.5
    assert runs._run([sys.executable, '-c', 'print("idle")'], log) < 0.5
    assert log.read_text() == 'done\nidle\n'
    with pytest.raises(subprocess.CalledProcessError, match='exit status 3'):
        runs._run([sys.executable, '-c', 'raise SystemExit(3)'], None)
