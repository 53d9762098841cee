"""Pages as people see them: commands in their own processes, a Chromium without a window."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 120_000  # for what takes a second on an idle machine


class Served:
    """A process that serves a page, and what it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.said = process, list[str]()
        self._listened = threading.Thread(target=self._listen, daemon=True)
        self._found = threading.Event()
        self.url = ''
        self._listened.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(r'The page is at (http://\S+)', line):
                self.url = found[1]
                self._found.set()
        self._found.set()

    def wait_for_url(self) -> str:
        assert self._found.wait(PATIENCE_MS / 1000)
        assert self.url, ''.join(self.said)
        return self.url

    def wait_for(self, text: str) -> None:
        """Wait until a line has a text."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not any(text in line for line in self.said):
            assert time.monotonic() < deadline, ''.join(self.said)
            time.sleep(0.01)

    def close(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE_MS / 1000)
        finally:
            self.process.kill()
            self._listened.join()


@contextlib.contextmanager
def served(*command: str) -> Iterator[Served]:
    """Serve a page by a command of Python's."""
    environment = {
        **os.environ,
        'PYTHONPATH': f'{ROOT}{os.pathsep}{os.environ.get("PYTHONPATH", "")}',
    }
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    one = Served(subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, **pipes))
    try:
        one.wait_for_url()
        yield one
    finally:
        one.close()


@pytest.fixture(scope='session', name='served')
def _served() -> Callable[..., contextlib.AbstractContextManager[Served]]:
    return served


@pytest.fixture(scope='session')
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    program = shutil.which('chromium') or shutil.which('chromium-browser')
    if program is None:  # .ci/run installs it
        pytest.skip('CHROMIUM IS NOT INSTALLED: apt-get install chromium; not tested')
    arguments = ['--enable-unsafe-swiftshader', *(['--no-sandbox'] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, tmp_path: Path) -> Iterator[Page]:
    """A page of the browser, which must ask nobody but the machine itself, and must not fail.

    What it shows in the end is kept as last.png.
    """
    with chromium.new_context(viewport={'width': 1300, 'height': 850}) as context:
        made = context.new_page()
        made.set_default_timeout(PATIENCE_MS)
        asked: list[str] = []
        failed: list[str] = []
        made.on('request', lambda request: asked.append(request.url))
        made.on('pageerror', lambda error: failed.append(str(error)))
        yield made
        made.screenshot(path=tmp_path / 'last.png')
        own = re.compile(r'(http://(127\.0\.0\.1|localhost):\d+/|data:|blob:|about:)')
        assert [url for url in asked if not own.match(url)] == []
        assert failed == []
