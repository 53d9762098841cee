"""One HTML page of a study's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from don_kp_ros.evaluation.matchers import MODEL
from don_kp_ros.evaluation.report import accuracy, facts, figures, number, page, section, table
from don_kp_ros.evaluation.results import text

_COLUMNS = {
    'auc': 'AUC',
    'pck_5': 'PCK@5',
    'pck_10': 'PCK@10',
    'mean_px': 'mean px',
    'median_px': 'median px',
    'q75_px': '75 % px',
    'q90_px': '90 % px',
}


def html_text(results: Mapping[str, Any]) -> str:
    """Write the page of results as they stand in results.json; nothing in it lies elsewhere."""
    study, data = results['study'], results['data']
    title = f'{study["kind"]} on {data["folder"]}'
    if 'cases' in results:
        rows = [*results['cases'], *([results['summary']] if results['summary'] else [])]
        sections = [
            section('Trainings', _cases(rows, len(study['seeds']))),
            *(section(row['name'], accuracy(row)) for row in rows),
        ]
    else:
        sections = [section(results['title'], _table(results['rows'], results['targets']))]
    return page(
        title,
        [
            f'<h1>{escape(title)}</h1>',
            f'<p class="lead">{escape(study["description"] or study["kind"])}</p>',
            *sections,
            section('How this was measured', _facts(results)),
        ],
    )


def _table(rows: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]) -> str:
    cells = [[escape(text(value)) for value in row.values()] for row in rows]
    reached = [
        f'<li>{escape(target["name"])}: {text(target["measured"])}, {target["sense"]} '
        f'{text(target["limit"])}: {"reached" if target["met"] else "missed"}</li>'
        for target in targets
    ]
    goals = f'\n<ul>{"".join(reached)}</ul>' if reached else ''
    return table([escape(name) for name in rows[0]], cells, marked=None) + goals


def _cases(rows: Sequence[Mapping[str, Any]], seeds: int) -> str:
    others = [name for name in rows[0]['methods'] if name != MODEL]
    head = ['', *_COLUMNS.values(), *(f'AUC, {escape(other)}' for other in others)]
    lines = [
        [
            escape(row['name']),
            *figures(row['methods'][MODEL], _COLUMNS, row['methods'][MODEL]['over_seeds']),
            *(number('auc', row['methods'][other]['auc']) for other in others),
        ]
        for row in rows
    ]
    note = (
        f'Trainings of equal length, {seeds} of each row, that differ in their seed; &plusmn; is '
        'the standard deviation over several. Small figures: 95 % bootstrap interval over '
        'pictures, or over objects where several are summed up. Pixels are those of a '
        '640-pixel-wide picture.'
    )
    return f'<p>{note}</p>\n{table(head, lines, marked=None)}'


def _facts(results: Mapping[str, Any]) -> str:
    data = results['data']
    after = []
    if 'cases' in results:
        told = 'told by the folder' if data['objects_told'] else 'not told by the folder'
        trainings = (
            f'{case["name"]}: seed {kept["seed"]}, {kept["steps"]} steps, {kept["cpu_minutes"]} '
            f'processor minutes, fingerprint {kept["fingerprint"]}'
            for case in results['cases']
            for kept in case['trainings']
        )
        pictures = f'{data["pictures"]}; what they show is {told}; fingerprint'
        after = [
            ('Pictures', f'{pictures} {data["fingerprint"]}'),
            ('Measured by', results['measure']),
            ('Trainings', '; '.join(trainings)),
        ]
    return facts(results, 'study', [('Data', f'{data["folder"]}')], after)
