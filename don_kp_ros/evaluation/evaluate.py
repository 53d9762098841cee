"""Measure a model, and what it is held against, by a protocol."""

from __future__ import annotations

from functools import partial
from typing import Any

from rich.console import Console

from don_kp_ros import configuration
from don_kp_ros.evaluation.counting import Counting
from don_kp_ros.evaluation.examples import Drawing, drawings
from don_kp_ros.evaluation.figures import (
    by_name,
    compared,
    curve,
    figures,
    fingerprint,
    independent,
    joined,
    space_figures,
    summed_up,
)
from don_kp_ros.evaluation.keypoints import keypoint_figures
from don_kp_ros.evaluation.kinds import measure_kinds
from don_kp_ros.evaluation.matchers import MODEL, Found, Learned, match_all, matchers
from don_kp_ros.evaluation.pairs import check
from don_kp_ros.evaluation.peers import PEERS, absent, peers
from don_kp_ros.evaluation.protocols.protocol import Protocol
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.evaluation.request import Request
from don_kp_ros.evaluation.results import say, versions
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.outputs import without_nan

FORMAT, VERSION = 'don_kp evaluation', 1

_ALL = 'all pairs'


def evaluate(
    network: Checkpoint,
    name: str,
    protocol: Protocol,
    request: Request,
    console: Console | None = None,
) -> tuple[dict[str, Any], list[Drawing]]:
    """Measure a model and its baselines; return results and pictures of its matches.

    name: the model's, in the results. All of them but `run` are the same for the same seed. Raises
    DataError, or ValueError naming a pair that cannot be measured on.
    """
    console = console or Console(quiet=True)
    reader = Reader(request.skip_broken, request.masks, partial(say, console))
    conditions = protocol.conditions(request.data, request.seed, reader)
    for message in reader.skipped:
        say(console, f'left out: {message}')
    for condition in conditions:
        check(condition.data)
    pairs = sum(len(condition.data.pairs) for condition in conditions)
    say(console, f'Measuring {name} on {request.data}: {pairs} pairs of {protocol.kind}.')
    methods = matchers(network, request.device, protocol.step, request.seed)
    missing = {}
    if protocol.peers:
        methods |= peers(request.device)
        missing = {name: absent() for name in PEERS if name not in methods}
    found: dict[str, list[Found]] = {}  # of every method, in every condition
    with Counting(console, len(methods) * pairs) as counting:
        for method, matcher in methods.items():
            counting.begin(method)
            found[method] = [
                match_all(condition.data, matcher, with_peaks=True, advance=counting.advance)
                for condition in conditions
            ]

    def row(places: list[int]) -> dict[str, Any]:
        """Summarise some conditions together; the intervals are over pictures A."""
        return compared(
            conditions[places[0]].name if len(places) == 1 else _ALL,
            {method: [joined(own[i] for i in places)] for method, own in found.items()},
            request.seed,
            protocol.resamples,
            independent([conditions[i] for i in places]),
        )

    chosen = summed_up(conditions)
    names = [pair.names for i in chosen for pair in conditions[i].data.pairs]
    groups = independent([conditions[i] for i in chosen])
    summary, points = row(chosen), dict[str, dict[str, Any]]()
    summary['missing'] = missing
    for method, own in summary['methods'].items():
        whole = joined(found[method][i] for i in chosen)
        own['pck_curve'] = curve(whole)
        if len(chosen) == 1:
            own['space'] = space_figures(conditions[chosen[0]], whole)
        for point, part in by_name(names, whole).items():
            together = [own for own, named in zip(groups, names, strict=True) if point in named]
            of_point = figures(part, request.seed, protocol.resamples, together)
            points.setdefault(point, {})[method] = of_point
    kinds = {}
    if len(chosen) == 1:
        model, condition = methods[MODEL], conditions[chosen[0]]
        assert isinstance(model, Learned) and isinstance(model.model, DescriptorModel)
        summary['methods'][MODEL]['keypoints'] = keypoint_figures(model.model, condition.data)
        kinds = measure_kinds(model.model, condition.data)
    curves: dict[str, list[dict[str, Any]]] = {}
    for number, condition in enumerate(conditions):
        if condition.curve:
            at = {'value': condition.value, **row([number])}
            curves.setdefault(condition.curve, []).append(at)
    described = '; '.join(
        dict.fromkeys(conditions[i].data.origin for i in chosen if not conditions[i].curve)
    )
    results = {
        'format': FORMAT,
        'version': VERSION,
        'model': {
            'file': name,
            'fingerprint': network.fingerprint,
            'dimension': network.network.dimension,
            'network': configuration.plain(network.network),
            'preprocessing': configuration.plain(network.preprocessing),
            'match_threshold': network.match_threshold,
        },
        'protocol': {'kind': protocol.kind, **configuration.plain(protocol)},
        'seed': request.seed,
        'data': {
            'folder': request.data.resolve().name,
            'description': described or f'{len(conditions)} changes of pictures',
            'fingerprint': fingerprint(conditions),
            'skipped': reader.skipped,
        },
        'versions': versions(),
        'summary': summary,
        'curves': curves,
        'points': points,
        'kinds': kinds,
        'run': request.record(),
    }
    shown = drawings([conditions[i] for i in chosen], [found[MODEL][i] for i in chosen])
    return without_nan(results), shown
