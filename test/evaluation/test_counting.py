"""What is measured is counted while it is: nobody waits before a silent terminal."""

import io

import pytest
from rich.console import Console

from don_kp_ros.evaluation import counting
from don_kp_ros.evaluation.counting import Counting


def said(terminal: bool) -> str:
    """Count two pairs of each of two methods; return what was printed."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with Counting(console, 4) as counted:
        for method in ('model', 'dense SIFT'):
            counted.begin(method)
            for _ in range(2):
                counted.advance()
    text: str = console.file.getvalue()
    return text


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 20, 25, 40, 45])  # seconds, when counting begins and after each pair
    monkeypatch.setattr(counting, 'monotonic', lambda: next(clock))
    assert said(terminal=False).splitlines() == [
        'measured 1 of 4 pairs (model)',
        'measured 3 of 4 pairs (dense SIFT)',
    ]


def test_a_terminal_shows_a_bar() -> None:
    shown = said(terminal=True).splitlines()
    assert any('dense SIFT' in line and '4/4' in line for line in shown), shown
    assert not any('measured' in line for line in shown)
