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
        [('simulatoin', 'simulation'), ('saftey', 'safety'), ('use_simulation', 'simulation')],
    )
    def test_a_mistyped_one_is_refused(
        self, launch_file: dict[str, Any], mistyped: str, meant: str
    ) -> None:
        complaint = f"Unknown argument '{mistyped}'; .*did you mean {meant}"
        with pytest.raises(ValueError, match=complaint):
            launch_file['_arguments'](context(**{mistyped: 'true'}))

    def test_those_of_other_launch_files_pass(self, launch_file: dict[str, Any]) -> None:
        others = (
            'serial_no', 'enable_gyro', 'enable_sync', 'robot_ip', 'use_rviz', 'ros_namespace',
            'robot2', 'camera_name1', 'robot_1', 'namespace_2', 'robots', 'models',
        )  # fmt: skip
        given = {**dict.fromkeys(others, 'true'), 'safety': 'mine.yaml'}
        arguments = launch_file['_arguments'](context(**given))
        assert arguments == description.checked({'safety': 'mine.yaml'})


class TestCamera:
    @pytest.fixture
    def nothing_installed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
        return tmp_path

    @pytest.mark.parametrize(
        'given',
        [
            {'simulation': 'true'},
            {'nodes': 'grasp'},
            {'nodes': 'descriptor_database,grasp'},
            {'camera_driver': 'false'},
        ],
    )
    def test_its_driver_is_left_out_where_it_is_of_no_use_or_runs_already(
        self, launch_file: dict[str, Any], nothing_installed: Path, given: dict[str, str]
    ) -> None:
        assert launch_file['_camera'](context(**given)) == []

    def test_its_driver_that_is_missing_is_told_with_the_remedy(
        self, launch_file: dict[str, Any], nothing_installed: Path
    ) -> None:
        remedy = r'realsense2_camera.*ros-jazzy-realsense2-camera; or give camera_driver:=false'
        with pytest.raises(RuntimeError, match=remedy):
            launch_file['_camera'](context())

    @pytest.mark.parametrize(
        'given', [{}, {'nodes': 'perception'}, {'nodes': 'grasp', 'camera_driver': 'true'}]
    )
    def test_its_driver_is_started_beside_perception_or_where_it_is_asked_for(
        self, launch_file: dict[str, Any], nothing_installed: Path, given: dict[str, str]
    ) -> None:
        share = nothing_installed / 'share'
        marker = share / 'ament_index' / 'resource_index' / 'packages' / 'realsense2_camera'
        marker.parent.mkdir(parents=True)
        marker.touch()
        (share / 'realsense2_camera').mkdir()
        assert len(launch_file['_camera'](context(**given))) == 1
        source = sys.modules['launch.launch_description_sources'].PythonLaunchDescriptionSource
        source.assert_called_once_with(
            str(share / 'realsense2_camera' / 'launch' / 'rs_launch.py')
        )


def test_rviz_shows_everything_on_the_robot_s_base(launch_file: dict[str, Any]) -> None:
    launch_file['_rviz'](context(robot='fr3', rviz='true'))
    options = sys.modules['launch_ros.actions'].Node.call_args.kwargs['arguments']
    assert options[options.index('-f') + 1] == 'fr3_link0'
