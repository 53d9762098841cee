"""What launch/grasp.launch.py makes of its arguments; `launch` itself is pretended."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from don_kp_ros.bringup import description

PATH = Path(__file__).resolve().parents[2] / 'launch' / 'grasp.launch.py'
MODULES = (
    'launch', 'launch.action', 'launch.actions', 'launch.conditions',
    'launch.launch_description_sources', 'launch.substitutions', 'launch_ros.actions',
    'launch_ros', 'launch_ros.parameter_descriptions',
)  # fmt: skip


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the file; return what it defines."""
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, MagicMock())
    return runpy.run_path(str(PATH))


def context(**given: str) -> SimpleNamespace:
    """Pretend a launch that was given some arguments, and declared ours."""
    defaults = {argument.name: argument.default for argument in description.ARGUMENTS}
    return SimpleNamespace(launch_configurations={**defaults, **given})


class TestArguments:
    @pytest.mark.parametrize(
        ('mistyped', 'meant'),
        [('simulatoin', 'simulation'), ('saftey', 'safety'), ('node', 'nodes')],
    )
    def test_a_mistyped_one_is_refused(
        self, launch_file: dict[str, Any], mistyped: str, meant: str
    ) -> None:
        complaint = f"Unknown argument '{mistyped}'; .*did you mean {meant}"
        with pytest.raises(ValueError, match=complaint):
            launch_file['_arguments'](context(**{mistyped: 'true'}))

    def test_those_of_other_launch_files_pass(self, launch_file: dict[str, Any]) -> None:
        others = ('serial_no', 'enable_gyro', 'enable_sync', 'robot_ip', 'use_rviz')
        given = {**dict.fromkeys(others, 'true'), 'safety': 'mine.yaml'}
        arguments = launch_file['_arguments'](context(**given))
        assert arguments == description.checked({'safety': 'mine.yaml'})
