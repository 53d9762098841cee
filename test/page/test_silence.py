"""The page says why its picture has no marks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

SCRIPT = str(Path(__file__).with_name('pretended_stack.py'))


def test_why_there_are_no_marks_is_told_beside_the_picture(served: Callable, page: Page) -> None:
    with served(SCRIPT, '127.0.0.1', 'Perception tells nothing.') as one:
        page.goto(one.url)
        page.locator('.what', has_text='Perception tells nothing.').wait_for()
        assert 'Traceback' not in ''.join(one.said)
