"""A model's card for its readers: how it was made and what it scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from don_kp_ros.evaluation.kinds import RECALL
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.training.threshold import ABSENT_QUANTILE, DRAWN_QUANTILE, PRESENT_QUANTILE


def card_text(name: str, checkpoint: Checkpoint) -> str:
    """Write a model's card for people: data, command, and honest metrics."""
    card = checkpoint.card
    threshold = card['match_threshold']
    share = 1 - (DRAWN_QUANTILE if threshold['drawn'] else ABSENT_QUANTILE)
    rule = (
        f'the middle between the weakest {PRESENT_QUANTILE:.0%} of matches '
        f'({threshold["present"]:.3f}) and the strongest {share:.1%} of peaks in pictures without '
        f'the object ({threshold["absent"]:.3f}), and at least the latter. '
        f'{threshold["found"]:.1%} of the points reach it, and {threshold["false"]:.1%} of those '
        'that are not there'
    )
    doubt = f'\n- The threshold is not sure: {threshold["doubt"]}.' if threshold['doubt'] else ''
    size = sum(tensor.numel() for tensor in checkpoint.weights.values()) / 1e6
    network = checkpoint.network
    return '\n'.join(
        [
            f'# {name}',
            '',
            f'{network.backbone} to {network.last_layer}, stride {network.stride}, '
            f'D = {network.dimension}, {size:.2f} million parameters, '
            f'fingerprint {checkpoint.fingerprint}.',
            '',
            f'- Data: {card["data"]}.',
            f'- Command: `{card["command"]}`',
            f'- Seed {card["seed"]}; {card["steps"]} steps, {card["wall_minutes"]} minutes '
            f'({card["cpu_minutes"]} processor minutes); {card["initialisation"]}.',
            f'- Match threshold {threshold["value"]:.3f}: {rule}.{doubt}',
            '',
            'Errors in pixels of a 640-pixel-wide picture, on pictures that were not trained on '
            'unless the data line says otherwise.',
            '',
            *_table(card['metrics']),
            *_kinds(card['kinds']),
            *_keypoints(card['keypoints'], card['kinds']),
        ]
    )


def _table(rows: Mapping[str, Mapping[str, float]], more: str = '') -> list[str]:
    """Make a table of figures, with one more share if its title is given."""
    last = f' {more} |' if more else ''
    lines = [f'| | AUC | PCK@5 | PCK@10 | PCK@20 | median px |{last}', '|---' * 6 + '|']
    lines[1] += '---|' if more else ''
    for name, m in rows.items():
        own = f'| {name} | {m["auc"]:.3f} | {m["pck_5"]:.3f} | {m["pck_10"]:.3f} '
        own += f'| {m["pck_20"]:.3f} | {m["median_px"]:.1f} |'
        lines.append(f'{own} {m["false_finds"]:.1%} |' if more else own)
    return [*lines, '']


def _kinds(kinds: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not kinds:
        return []
    text = (
        'By kind of object. False finds: points that reach, on an object of another kind, the '
        f'similarity that {RECALL:.0%} of their kind reach on their own object.'
    )
    return [text, '', *_table(kinds, 'false finds')]


def _keypoints(
    own: Mapping[str, float] | None, kinds: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    if own is None:
        return []
    rows = {'all': own} | {k: of['keypoints'] for k, of in kinds.items() if 'keypoints' in of}
    return [
        f'{own["keypoints"]} keypoints: two views of a picture, turned and changed as in '
        'training, disagree about the places of those of its kind of object.',
        '',
        '| | median px | 90 % px | on the object |',
        '|---|---|---|---|',
        *(
            f'| {name} | {of["median_px"]:.1f} | {of["p90_px"]:.1f} | {of["inside"]:.0%} |'
            for name, of in rows.items()
        ),
        '',
    ]
