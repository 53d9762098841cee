"""Start the simulated robot, camera and objects alone."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def generate_launch_description() -> LaunchDescription:
    """Include grasp.launch.py with fewer nodes; its other arguments hold here too."""
    whole = Path(__file__).parent / 'grasp.launch.py'
    return LaunchDescription(
        [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(whole)),
                launch_arguments={'simulation': 'true', 'nodes': 'simulation'}.items(),
            )
        ]
    )
