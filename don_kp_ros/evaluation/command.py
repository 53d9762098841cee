"""`don_kp evaluate`: measure a model on a data folder and write a report to look at."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.folder import DataError
from don_kp_ros.evaluation.baselines import check
from don_kp_ros.evaluation.comparison import (
    MODEL,
    Found,
    Learned,
    by_name,
    curve,
    figures,
    fingerprint,
    independent,
    joined,
    keypoint_figures,
    match_all,
    matchers,
    space_figures,
    summed_up,
)
from don_kp_ros.evaluation.drawings import draw_matches, jpeg
from don_kp_ros.evaluation.protocols.protocol import Condition, Protocol
from don_kp_ros.evaluation.protocols.registry import read_protocol
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.evaluation.report import Drawing, html_text
from don_kp_ros.evaluation.results import (
    check_device,
    device_name,
    progress_bar,
    say_where,
    versions,
    without_nan,
    write,
)
from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.checkpoint import Checkpoint, CheckpointError

FORMAT, VERSION = 'don_kp evaluation', 1

_OUTPUT = Path('output/evaluation')
_ALL = 'all pairs'


@dataclass(frozen=True)
class Job:
    """What is measured: a model on a folder, by a protocol."""

    model: Path
    protocol: Protocol
    data: Path
    seed: int = 0
    skip_broken: bool = False
    device: str = 'cpu'
    command: str = ''


def main(argv: Sequence[str]) -> int:
    """Run `don_kp evaluate`; return the exit status."""
    console = Console()
    try:
        job, output, wanted = _job(argv)
        network = _checked(checkpoint.load(job.model), job.model, *wanted)
        results, drawings = evaluate(job, network, console)
        write(output, results, html_text(results, drawings))
    except (CheckpointError, ConfigurationError, DataError, OSError, ValueError) as error:
        print(f'don_kp evaluate: {error}', file=sys.stderr)
        return 1
    _print(results, console)
    say_where(output, console)
    return 0


def _job(argv: Sequence[str]) -> tuple[Job, Path, tuple[str | None, int | None]]:
    parser = argparse.ArgumentParser(
        prog='don_kp evaluate',
        description=__doc__,
        epilog='Any key of the protocol can be given as --key=value, for example --pairs=10 or '
        '--views.warp.rotation=45.',
        allow_abbrev=False,
    )
    parser.add_argument('data', metavar='DATA', type=Path, help='folder (docs/data.md)')
    parser.add_argument('--model', type=Path, required=True, help='checkpoint')
    parser.add_argument(
        '--protocol',
        type=Path,
        required=True,
        help='YAML file, or the name of one in config/evaluation: held_views, folder, ...; '
        '`--protocol leave_one_out --help` tells of those that train models of their own',
    )
    parser.add_argument(
        '--output', type=Path, help=f'folder to write to (default: {_OUTPUT}/MODEL-PROTOCOL)'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--skip-broken', action='store_true', help='leave out pictures that cannot be read'
    )
    parser.add_argument('--fingerprint', help='the model must have it')
    parser.add_argument('--dimension', type=int, help='D, the model must have it')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, ...')
    arguments, overrides = parser.parse_known_args(list(argv))
    if arguments.seed < 0:
        raise ConfigurationError(f'--seed is {arguments.seed}; it must not be negative')
    check_device(arguments.device)
    job = Job(
        arguments.model,
        read_protocol(arguments.protocol, overrides),
        arguments.data,
        arguments.seed,
        arguments.skip_broken,
        arguments.device,
        shlex.join(['don_kp', 'evaluate', *argv]),
    )
    name = f'{arguments.model.stem}-{arguments.protocol.stem}'
    return job, arguments.output or _OUTPUT / name, (arguments.fingerprint, arguments.dimension)


def _checked(
    network: Checkpoint, path: Path, wanted: str | None, dimension: int | None
) -> Checkpoint:
    """Return the model if it is the one that is asked for; raises CheckpointError."""
    if wanted is not None and network.fingerprint != wanted:
        raise CheckpointError(
            f'{path}: fingerprint {network.fingerprint}, but --fingerprint asks for {wanted}; '
            'give the model of that fingerprint'
        )
    if dimension is not None and network.network.dimension != dimension:
        raise CheckpointError(
            f'{path}: D is {network.network.dimension}, but --dimension asks for {dimension}; '
            'give a model of that dimension'
        )
    return network


def evaluate(
    job: Job, network: Checkpoint, console: Console | None = None
) -> tuple[dict[str, Any], list[Drawing]]:
    """Measure a model and what it is held against; return results and pictures of its matches.

    All of the results but `run` are the same for the same seed. Raises DataError, or ValueError
    naming a pair that cannot be measured on.
    """
    console = console or Console(quiet=True)
    started, date = time.monotonic(), datetime.now(timezone.utc)
    reader = Reader(job.skip_broken)
    conditions = job.protocol.conditions(job.data, job.seed, reader)
    for message in reader.skipped:
        console.print(f'left out: {message}', highlight=False, markup=False, soft_wrap=True)
    for condition in conditions:
        check(condition.data)
    pairs = sum(len(condition.data.pairs) for condition in conditions)
    line = f'Measuring {job.model.name} on {job.data}: {pairs} pairs of {job.protocol.kind}.'
    console.print(line, highlight=False, markup=False, soft_wrap=True)
    methods = matchers(network, job.device, job.protocol.step, job.seed)
    found: dict[str, list[Found]] = {}
    with progress_bar(console) as progress:
        task = progress.add_task('', total=len(methods) * pairs, what='')
        for name, matcher in methods.items():
            progress.update(task, what=name)
            advance: Callable[[], None] = lambda: progress.advance(task)  # noqa: E731
            found[name] = [match_all(condition, matcher, advance) for condition in conditions]
    model = methods[MODEL]
    assert isinstance(model, Learned)
    chosen = summed_up(conditions)
    summary = _measured(job, conditions, found, chosen)
    for name, own in summary['methods'].items():
        parts = [found[name][i] for i in chosen]
        own['pck_curve'] = curve(joined(parts))
        if len(chosen) == 1:
            own['space'] = space_figures(conditions[chosen[0]], parts[0])
    if len(chosen) == 1:
        own_keypoints = keypoint_figures(model.model, conditions[chosen[0]])
        summary['methods'][MODEL]['keypoints'] = own_keypoints
    curves: dict[str, list[dict[str, Any]]] = {}
    for number, condition in enumerate(conditions):
        if condition.curve:
            point = {'value': condition.value, **_measured(job, conditions, found, [number])}
            curves.setdefault(condition.curve, []).append(point)
    described = '; '.join(
        dict.fromkeys(conditions[i].data.origin for i in chosen if not conditions[i].curve)
    )
    results = {
        'format': FORMAT,
        'version': VERSION,
        'model': {
            'file': job.model.name,
            'fingerprint': network.fingerprint,
            'dimension': network.network.dimension,
            'network': configuration.plain(network.network),
            'preprocessing': configuration.plain(network.preprocessing),
            'match_threshold': network.match_threshold,
        },
        'protocol': {'kind': job.protocol.kind, **configuration.plain(job.protocol)},
        'seed': job.seed,
        'data': {
            'folder': job.data.resolve().name,
            'description': described or f'{len(conditions)} changes of pictures',
            'fingerprint': fingerprint(conditions),
            'skipped': reader.skipped,
        },
        'versions': versions(),
        'summary': summary,
        'curves': curves,
        'points': _points(job, conditions, found, chosen),
        'run': {
            'date': date.strftime('%Y-%m-%d %H:%M UTC'),
            'seconds': round(time.monotonic() - started, 1),
            'command': job.command,
            'device': device_name(job.device),
        },
    }
    drawings = _drawings([conditions[i] for i in chosen], [found[MODEL][i] for i in chosen])
    return without_nan(results), drawings


def _measured(
    job: Job, conditions: list[Condition], found: dict[str, list[Found]], chosen: list[int]
) -> dict[str, Any]:
    """Summarise some of the conditions together: intervals are then over pictures A."""
    parts = {name: joined(own[i] for i in chosen) for name, own in found.items()}
    errors, groups = parts[MODEL].errors, independent([conditions[i] for i in chosen])
    return {
        'name': conditions[chosen[0]].name if len(chosen) == 1 else _ALL,
        'pairs': len(errors),
        'queries': sum(len(own) for own in errors),
        'methods': {
            name: figures(part, job.seed, job.protocol.resamples, groups)
            for name, part in parts.items()
        },
    }


def _points(
    job: Job, conditions: list[Condition], found: dict[str, list[Found]], chosen: list[int]
) -> dict[str, dict[str, Any]]:
    """Summarise what was found by the points' names: figures of every method."""
    result: dict[str, dict[str, Any]] = {}
    names = [pair.names for i in chosen for pair in conditions[i].data.pairs]
    for method, own in found.items():
        for name, part in by_name(names, joined(own[i] for i in chosen)).items():
            result.setdefault(name, {})[method] = figures(part, job.seed, job.protocol.resamples)
    return result


def _drawings(conditions: list[Condition], found: list[Found]) -> list[Drawing]:
    """Draw the pairs, and the single matches, of the least, the middle and the largest error."""
    places = [(c, p) for c, own in enumerate(found) for p in range(len(own.errors))]
    by_error = sorted(places, key=lambda place: float(found[place[0]].errors[place[1]].mean()))
    result = []
    for label, (c, p) in _best_median_worst(by_error):
        errors = found[c].errors[p]
        caption = (
            f'{conditions[c].name}, pair {p}: {len(errors)} points, error mean '
            f'{errors.mean():.1f}, median {np.median(errors):.1f}, largest {errors.max():.1f} px'
        )
        result.append(_drawing(f'{label} pair', caption, conditions[c], found[c], p, None))
    single = [(c, p, q) for c, p in places for q in range(len(found[c].errors[p]))]
    single.sort(key=lambda place: float(found[place[0]].errors[place[1]][place[2]]))
    for label, (c, p, q) in _best_median_worst(single):
        caption = f'{conditions[c].name}, pair {p}: error {found[c].errors[p][q]:.1f} px'
        result.append(_drawing(f'{label} match', caption, conditions[c], found[c], p, q))
    return result


def _best_median_worst(ordered: list[Any]) -> list[tuple[str, Any]]:
    places = {'Best': 0, 'Median': len(ordered) // 2, 'Worst': len(ordered) - 1}
    return [(label, ordered[place]) for label, place in places.items()]


def _drawing(
    title: str, caption: str, condition: Condition, found: Found, number: int, query: int | None
) -> Drawing:
    pair, images = condition.data.pairs[number], condition.data.images
    rows = slice(None) if query is None else slice(query, query + 1)
    picture = draw_matches(
        images[pair.image_a],
        images[pair.image_b],
        pair.uv_a[rows],
        pair.uv_b[rows],
        found.uv[number][rows],
        found.errors[number][rows],
    )
    return Drawing(title, caption, jpeg(picture))


def _print(results: dict[str, Any], console: Console) -> None:
    summary = results['summary']
    title = f'{summary["pairs"]} pairs, {summary["queries"]} queries'
    table = Table('', 'AUC', '95 %', 'PCK@5', 'PCK@10', 'median px', title=title)
    for name, own in summary['methods'].items():
        interval = own['interval_95']
        table.add_row(
            name,
            f'{own["auc"]:.3f}',
            ' to '.join(f'{end:.3f}' for end in interval['auc']) if interval else '',
            f'{own["pck_5"]:.3f}',
            f'{own["pck_10"]:.3f}',
            f'{own["median_px"]:.1f}',
        )
    console.print(table)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
