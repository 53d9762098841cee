"""Which settings the benchmark of paper 1's tables trains, and how it puts figures together."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import paper_tables as benchmark
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.folder import DataError
from don_kp_ros.evaluation.pck import Accuracy
from don_kp_ros.evaluation.request import Request
from don_kp_ros.studies import command, paper_tables
from don_kp_ros.studies.paper_tables import PaperTables, Run
from don_kp_ros.studies.published import PUBLISHED, Case, published_auc
from don_kp_ros.studies.registry import read_study
from don_kp_ros.studies.study import Job

CONFIGURATIONS = benchmark.CONFIGURATIONS


def study(budget: str, *overrides: str) -> PaperTables:
    read = read_study(Path(CONFIGURATIONS[budget]), overrides)
    assert isinstance(read, PaperTables)
    return read


def result(auc: float, steps: int) -> Run:
    return Run(steps, dataclasses.replace(Accuracy.of([3.0]), auc=auc))


def test_every_cell_of_the_tables_is_a_case() -> None:
    cases = PaperTables().cases()
    assert len(cases) == len(set(cases)) == 20
    assert {D for method, N, D in cases if method == 'mined' and N == 16} == {64, 128, 256, 512}
    untold = {case for case in cases if PUBLISHED[case] is None}
    assert untold == {Case('NT-Xent', 128, D) for D in (64, 128, 256, 512)}
    assert PaperTables(dimensions=(3, 64)).cases() == [
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setenv('BUDGET', 'huge')
    assert benchmark.main() == 2
    assert 'BUDGET is huge; allowed are cpu, paper' in capsys.readouterr().err
    job = Job(Request(tmp_path), tmp_path / 'out', tmp_path / 'trainings')
    with pytest.raises(DataError, match=r'no CUDA device.*BUDGET=cpu'):
        study('paper').run(job)
    assert command.main([CONFIGURATIONS['paper'], str(tmp_path)]) == 1
    assert 'no CUDA device' in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match='dimensions holds 100; allowed are 3, 8, 16'):
        study('cpu', '--dimensions=[3, 100]')


def test_the_paper_is_trained_as_it_is_printed() -> None:
    paper = study('paper')
    assert (paper.epochs, paper.seeds) == (2500, (0, 1, 2))
    mined, contrasted = (
        paper.recipe(case).settings for case in (Case('mined', 16, 512), Case('NT-Xent', 128, 3))
    )
    for own, D in ((mined, 512), (contrasted, 3)):
        assert own.network.backbone == 'resnet34'
        assert (own.network.dimension, own.pairs) == (D, 1)
        assert own.views.size**2 == pytest.approx(640 * 480, rel=0.04)
        assert own.optimiser.schedule == 'constant'
    assert paper.recipes == paper_tables.AS_PRINTED
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
    name: str, minutes: float | None, steps: int | None
) -> None:
    recipe = study(name).recipe(Case('mined', 128, 8), pictures=3)
    assert recipe.steps == steps
    if minutes is not None:
        assert recipe.minutes == 0.93 * minutes  # the rest is for start, measuring and writing


def test_a_row_holds_means_over_seeds_beside_what_is_published() -> None:
    case = Case('mined', 16, 64)
    row = paper_tables.row(case, [result(0.8, 100), result(0.9, 200), result(0.7, 300)], 0.5)
    assert (row['auc'], row['deviation'], row['steps']) == (0.8, 0.1, 200)
    assert (row['published in'], row['AUC, other metric']) == ('table 3', '0.948 ± 0.009')
    assert (row['GB'], row['published GB']) == (0.5, 3.799)
    alone = paper_tables.row(Case('NT-Xent', 128, 64), [result(0.8, 100)], 0.5)
    assert (alone['deviation'], alone['published GB']) == ('', '')
    assert alone.keys() == row.keys()


def test_the_published_metric_prefers_a_constant_to_the_truth() -> None:
    diagonal = np.array([[5.0, 5.0], [80.0, 80.0]])
    # A cosine of 1 is rounded: whether it counts at k = 100 is worth half a step.
    assert published_auc(diagonal, diagonal) == pytest.approx(1, abs=0.51 / 99)
    # Swapped, (500, 200) meets (200, 500) at a cosine of 20/29: right for k up to 68.
    aside = np.array([[200.0, 500.0]])
    assert published_auc(aside, aside) == pytest.approx(67.5 / 99)
    assert published_auc([[300.0, 300.0]], aside) > 67.5 / 99


def test_memory_hardly_depends_on_the_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_tables, '_PICTURE', (192, 256))
    small, large = (paper_tables.memory(Case('NT-Xent', 128, D)) for D in (3, 512))
    # A tensor of N x H x W x D, as published, would be 12.9 GB at D = 512.
    assert 0.02 < small < large < 1.25 * small
