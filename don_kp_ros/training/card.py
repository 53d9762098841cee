"""A model's card for its readers: how it was made and what it scores."""

from __future__ import annotations

from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.training.threshold import ABSENT_QUANTILE, PRESENT_QUANTILE


def card_text(name: str, checkpoint: Checkpoint) -> str:
    """Write a model's card for people: data, command, and honest metrics."""
    card = checkpoint.card
    threshold = card['match_threshold']
    rows = [
        f'| {row} | {m["auc"]:.3f} | {m["pck_5"]:.3f} | {m["pck_10"]:.3f} | {m["pck_20"]:.3f} '
        f'| {m["median_px"]:.1f} |'
        for row, m in card['metrics'].items()
    ]
    absent = threshold['absent']
    rule = (
        f'the middle between the weakest {PRESENT_QUANTILE:.0%} of matches '
        f'({threshold["present"]:.3f}) and the strongest {1 - ABSENT_QUANTILE:.1%} of peaks in '
        f'pictures without the object ({absent:.3f}), and at least the latter'
        if absent is not None
        else f'the weakest {PRESENT_QUANTILE:.0%} of matches '
        '(no pictures without the object were given)'
    )
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
            f'- Match threshold {threshold["value"]:.3f}: {rule}.',
            '',
            'Errors in pixels of a 640-pixel-wide picture, on pictures that were not trained on '
            'unless the data line says otherwise.',
            '',
            '| | AUC | PCK@5 | PCK@10 | PCK@20 | median px |',
            '|---|---|---|---|---|---|',
            *rows,
            '',
        ]
    )
