"""One self-contained HTML page of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from don_kp_ros.evaluation.drawings import BAD, plot_curve, plot_pck
from don_kp_ros.evaluation.examples import Drawing
from don_kp_ros.evaluation.kinds import RECALL
from don_kp_ros.evaluation.pck import BRIEF

Figures = Mapping[str, Any]

_CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f8; color: #1f262d; line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 0 0 12px; }
p { margin: 0 0 12px; max-width: 80ch; }
section { background: #fff; border: 1px solid #e1e5ea; border-radius: 8px; margin: 20px 0;
  padding: 20px 24px; overflow-x: auto; }
.lead { color: #5a646e; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0; }
.card { background: #fff; border: 1px solid #e1e5ea; border-radius: 8px; padding: 12px 18px;
  min-width: 150px; }
.card b { display: block; font-size: 24px; font-weight: 600; }
.card span { color: #5a646e; font-size: 13px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid #e8ebef;
  white-space: nowrap; }
th { color: #5a646e; font-weight: 600; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.model td { font-weight: 600; background: #f0f5fb; }
tr.model td:first-child { padding-left: 8px; }
td small { display: block; color: #7a848e; font-weight: 400; font-size: 12px; }
table.facts td { text-align: left; white-space: normal; vertical-align: top; }
table.facts td:first-child { color: #5a646e; white-space: nowrap; padding-right: 24px; }
table.facts td + td { overflow-wrap: anywhere; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
svg { max-width: 100%; height: auto; display: block; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif !important; }
figure { margin: 0 0 24px; }
figure img { display: block; width: 100%; height: auto; border-radius: 4px; }
figcaption { color: #3a424a; font-size: 14px; margin-top: 6px; }
.warning { border-color: #e3b341; background: #fffbef; }
"""

_COLUMNS = {
    'auc': 'AUC',
    'pck_3': 'PCK@3',
    'pck_5': 'PCK@5',
    'pck_10': 'PCK@10',
    'pck_25': 'PCK@25',
    'median_px': 'median px',
    'mean_px': 'mean px',
    'q75_px': '75 % px',
    'q90_px': '90 % px',
    'q95_px': '95 % px',
}
_SPACE = {
    'within_5_mm': 'within 5 mm',
    'within_10_mm': 'within 10 mm',
    'median_mm': 'median mm',
    'mean_mm': 'mean mm',
    'q75_mm': '75 % mm',
    'q95_mm': '95 % mm',
    'queries': 'queries',
    'truth_unknown': 'no depth at the truth',
    'guess_unknown': 'no depth at the match',
}
_KEYPOINTS = {
    'keypoints': 'keypoints',
    'median_px': 'median px',
    'p90_px': '90 % px',
    'inside': 'on the object',
    'spread': 'spread',
}


def html_text(results: Mapping[str, Any], drawings: Sequence[Drawing]) -> str:
    """Write the page of results as they stand in results.json; nothing in it lies elsewhere."""
    model, protocol = results['model'], results['protocol']
    methods = results['summary']['methods']
    title = f'{model["file"]} on {protocol["kind"]}'
    parts = [
        f'<h1>{escape(title)}</h1>',
        f'<p class="lead">{escape(protocol["description"] or protocol["kind"])}: '
        f'{escape(results["data"]["description"])}</p>',
        _cards(methods),
        _skipped(results['data']['skipped']),
        section('Accuracy', accuracy(results['summary'])),
        section('PCK curves', plot_pck({name: m['pck_curve'] for name, m in methods.items()})),
        *(
            section(label[:1].upper() + label[1:], _curve(f'curve{place}', label, points))
            for place, (label, points) in enumerate(results['curves'].items())
        ),
        section('By point', _points(results['points'])),
        section('By kind', _kinds(results['kinds'])),
        _optional('Error in space', methods, 'space', _SPACE),
        section('Ambiguity', _peaks(methods)),
        _optional('Keypoints', methods, 'keypoints', _KEYPOINTS),
        section('Matches of the model', _pictures(drawings)),
        section('How this was measured', _facts(results)),
    ]
    return page(title, parts)


def page(title: str, parts: Sequence[str]) -> str:
    """Put parts that are HTML already, empty ones left out, into a page."""
    body = '\n'.join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n'
        f'<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )


def section(title: str, content: str) -> str:
    """Make a section of content that is HTML already; empty content makes no section."""
    return f'<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>' if content else ''


def _cards(methods: Mapping[str, Figures]) -> str:
    name, own = next(iter(methods.items()))
    others = {other: figures['auc'] for other, figures in methods.items() if other != name}
    best = max(others, key=lambda other: others[other])
    cards = [
        (f'{own["auc"]:.3f}', f'AUC of the {name}'),
        (f'{own["pck_10"]:.1%}', 'within 10 pixels'),
        (f'{own["median_px"]:.1f} px', 'median error'),
        (f'{others[best]:.3f}', f'AUC of the best other: {best}'),
    ]
    inner = ''.join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label in cards
    )
    return f'<div class="cards">{inner}</div>'


def _skipped(messages: Sequence[str]) -> str:
    if not messages:
        return ''
    items = ''.join(f'<li>{escape(message)}</li>' for message in messages)
    return (
        '<section class="warning">\n<h2>Left out</h2>\n<p>These files could not be read:</p>\n'
        f'<ul>{items}</ul>\n</section>'
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], marked: int | None = 0) -> str:
    """Make a table of cells that are HTML already."""
    header = ''.join(f'<th>{cell}</th>' for cell in head)
    lines = [f'<tr>{header}</tr>']
    for place, row in enumerate(rows):
        kind = ' class="model"' if place == marked else ''
        lines.append(f'<tr{kind}>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>')
    return '<table>\n' + '\n'.join(lines) + '\n</table>'


def accuracy(summary: Mapping[str, Any]) -> str:
    """Make the table of every method's figures and their intervals."""
    rows = [[escape(name), *figures(own, _COLUMNS)] for name, own in summary['methods'].items()]
    rows += [
        [f'{escape(name)}<small>{escape(why)}</small>']
        for name, why in summary.get('missing', {}).items()
    ]
    note = (
        f'{summary["pairs"]} pairs of pictures ({escape(summary["name"])}), {summary["queries"]} '
        'queries, the same for all. PCK@k is the share of queries found less than k pixels from '
        'the truth, AUC its mean over k = 1 to 100; pixels are those of a 640-pixel-wide picture. '
    )
    if any(own['interval_95'] for own in summary['methods'].values()):
        note += 'Small figures: 95 % bootstrap interval over pictures A, with all of their pairs.'
    else:
        note += 'No interval can be given: all pairs have one picture A.'
    return f'<p>{note}</p>\n{table(["", *_COLUMNS.values()], rows)}'


def figures(
    own: Figures, columns: Mapping[str, str], over_seeds: Mapping[str, Figures] | None = None
) -> list[str]:
    """Write a method's figures, with their intervals where there are any.

    columns: keys of figures, and their titles; over_seeds: figures to tell deviations of, too.
    """
    cells = []
    for key in columns:
        cell = number(key, own[key])
        if over_seeds and (sigma := over_seeds[key]['sigma']) is not None:
            cell += f' &plusmn; {number(key, sigma)}'
        if interval := (own['interval_95'] or {}).get(key):
            low, high = (number(key, end) for end in interval)
            cell += f'<small>{low} to {high}</small>'
        cells.append(cell)
    return cells


def _curve(identity: str, label: str, points: Sequence[Mapping[str, Any]]) -> str:
    values = [point['value'] for point in points]
    figures = [point['methods'] for point in points]
    head = [escape(label), *(f'{value:g}' for value in values)]
    rows = [['pairs', *(str(point['pairs']) for point in points)]]
    rows += [
        [escape(name), *(number('auc', own[name]['auc']) for own in figures)]
        for name in figures[0]
    ]
    plot = plot_curve(identity, label, values, figures)
    return f'{plot}\n<p>AUC at each value; the shade is the 95 % interval of the first.</p>\n' + (
        table(head, rows, marked=1)
    )


def _points(points: Mapping[str, Mapping[str, Figures]]) -> str:
    if not points:
        return ''
    methods = list(next(iter(points.values())))
    columns = (('median_px', 'median px'), ('pck_10', 'PCK@10'))
    head = [
        '',
        'pairs',
        *map(escape, methods),
        *(f'{title}, {methods[0]}' for _, title in columns),
    ]
    rows = [
        [
            escape(name),
            str(own[methods[0]]['queries']),
            *(number('auc', own[method]['auc']) for method in methods),
            *(number(key, own[methods[0]][key]) for key, _ in columns),
        ]
        for name, own in sorted(points.items())
    ]
    return f'<p>AUC of each method at each point.</p>\n{table(head, rows, marked=None)}'


def _kinds(kinds: Mapping[str, Figures]) -> str:
    if not kinds:
        return ''
    columns = {key: _COLUMNS[key] for key in BRIEF if key in _COLUMNS}
    columns['false_finds'] = 'false finds'
    rows = [
        [escape(name), *(number(key, own[key]) for key in columns)] for name, own in kinds.items()
    ]
    note = (
        'The figures of the model for objects of each kind. False finds: the share of their '
        f'points that reach, on an object of another kind, the similarity that {RECALL:.0%} of '
        'them reach on their own object.'
    )
    return f'<p>{note}</p>\n{table(["", *columns.values()], rows, marked=None)}'


def _optional(
    title: str, methods: Mapping[str, Figures], key: str, columns: Mapping[str, str]
) -> str:
    rows = [
        [escape(name), *(number(column, own[key][column]) for column in columns)]
        for name, own in methods.items()
        if own.get(key)
    ]
    return section(title, table(['', *columns.values()], rows)) if rows else ''


def _peaks(methods: Mapping[str, Figures]) -> str:
    rows, shares = [], ''
    for name, own in methods.items():
        if second := own.get('second_peak'):
            shares = next(key for key in second if key.startswith('share_above_'))
            ratio, share = f'{second["median_ratio"]:.3f}', f'{second[shares]:.1%}'
            rows.append([escape(name), ratio, share, str(second['queries'])])
    if not rows:
        return ''
    above = escape(shares.removeprefix('share_above_'))
    head = ['', 'median second peak over first', f'share above {above}', 'queries']
    note = (
        'A heatmap whose second peak, 20 pixels away or more, is nearly as high as the first is '
        'ambiguous.'
    )
    return f'<p>{note}</p>\n{table(head, rows)}'


def _pictures(drawings: Sequence[Drawing]) -> str:
    figures = [
        f'<figure>\n<img src="{escape(drawing.uri)}" alt="{escape(drawing.title)}">\n'
        f'<figcaption><b>{escape(drawing.title)}</b>: {escape(drawing.caption)}</figcaption>\n'
        '</figure>'
        for drawing in drawings
    ]
    note = (
        'Left picture A, right picture B. A cross is a point of A and where it was found in B, a '
        f'ring its true place. Green is no error, red {BAD:g} pixels or more.'
    )
    return '\n'.join([f'<p>{note}</p>', *figures]) if figures else ''


def _facts(results: Mapping[str, Any]) -> str:
    model, data = results['model'], results['data']
    own = [
        (
            'Model',
            f'{model["file"]}, fingerprint {model["fingerprint"]}, D = {model["dimension"]}',
        ),
        ('Network', words(model['network'])),
        ('Data', f'{data["folder"]}: {data["description"]}; fingerprint {data["fingerprint"]}'),
    ]
    return facts(results, 'protocol', own)


def facts(
    results: Mapping[str, Any],
    kind: str,
    before: Sequence[tuple[str, str]],
    after: Sequence[tuple[str, str]] = (),
) -> str:
    """Make a table of names and values: the settings of a kind and how it ran, amid other ones."""
    asked, run = results[kind], results['run']
    settings = {k: v for k, v in asked.items() if k not in ('kind', 'description')}
    ran = f'{run["date"]}, {run["seconds"]} s on {run["device"]}'
    every = [
        *before,
        (kind.capitalize(), f'{asked["kind"]}; {words(settings)}'),
        ('Seed', str(results['seed'])),
        ('Versions', words(results['versions'])),
        ('Command', run['command']),
        ('Date', f'{ran}, commit {run["commit"]}' if 'commit' in run else ran),
        *after,
    ]
    rows = [f'<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>' for k, v in every]
    return '<table class="facts">\n' + '\n'.join(rows) + '\n</table>'


def words(mapping: Mapping[str, Any], prefix: str = '') -> str:
    """Write nested settings as a line."""
    parts = []
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            parts.append(words(value, f'{prefix}{key}.'))
        else:
            parts.append(f'{prefix}{key} {value}')
    return ', '.join(parts)


def number(key: str, value: float | int | None) -> str:
    """Write a figure as its key asks for; a dash where there is none."""
    if value is None:
        return '&ndash;'
    if isinstance(value, int):
        return str(value)
    return (
        f'{value:.1f}' if key.endswith(('_px', '_mm')) and 'within' not in key else f'{value:.3f}'
    )
