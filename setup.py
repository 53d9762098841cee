"""Build the interfaces with CMake and put them, the code and the data into one wheel.

With a ROS installation, colcon builds the same CMakeLists.txt and does not come here.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import ament_package
from setuptools import Command, Distribution, setup

SOURCE = Path(__file__).resolve().parent
BUILD = SOURCE / 'build' / f'cmake-{sys.implementation.cache_tag}'
# The ROS wheels unpack into an environment's prefix, four levels above a package's __init__.py.
ROS_PREFIX = Path(ament_package.__file__).parents[4]


def build_with_cmake() -> Path:
    """Build and install the package into a folder of its own; return that folder."""
    cache = BUILD / 'CMakeCache.txt'
    if cache.exists() and f'ROS_PREFIX:PATH={ROS_PREFIX}\n' not in cache.read_text():
        shutil.rmtree(BUILD)
    prefix = BUILD / 'prefix'
    shutil.rmtree(prefix, ignore_errors=True)
    generator = ['-G', 'Ninja'] if shutil.which('ninja') else []
    environment = {**os.environ, 'AMENT_PREFIX_PATH': str(ROS_PREFIX)}
    for command in (
        [
            *('cmake', '-S', SOURCE, '-B', BUILD, *generator),
            f'-DROS_PREFIX:PATH={ROS_PREFIX}',
            f'-DPython3_EXECUTABLE={sys.executable}',
            f'-DCMAKE_INSTALL_PREFIX={prefix}',
            '-DBUILD_TESTING=OFF',
            '-DCMAKE_INSTALL_MESSAGE=NEVER',
        ],
        ['cmake', '--build', BUILD, '--parallel', str(os.cpu_count())],
        ['cmake', '--install', BUILD],
    ):
        subprocess.run(command, check=True, env=environment)
    return prefix


class InstallPrefix(Command):
    """Install what CMake made: Python packages beside the code, the rest into the prefix."""

    user_options = ()

    def initialize_options(self) -> None:
        """Leave the places to the install command."""
        self.install_lib = self.install_data = None

    def finalize_options(self) -> None:
        """Take the places from the install command."""
        places = [(name, name) for name in ('install_lib', 'install_data')]
        self.set_undefined_options('install', *places)

    def get_outputs(self) -> list[str]:
        """Name nothing: the wheel takes whatever lies in its folders."""
        return []

    def run(self) -> None:
        """Build, and copy the result to where the wheel keeps such files."""
        prefix = build_with_cmake()
        (site_packages,) = prefix.glob('lib/python*/site-packages')
        for package in ('don_kp', 'tf2_msgs'):
            target = Path(self.install_lib) / package
            shutil.copytree(site_packages / package, target, dirs_exist_ok=True)
        # Without its CMake files, the next build does not take our tf2_msgs for that of ROS.
        shutil.rmtree(prefix / 'share' / 'tf2_msgs' / 'cmake')
        shutil.rmtree(site_packages.parent)
        shutil.copytree(prefix, self.install_data, dirs_exist_ok=True)


class PlatformDistribution(Distribution):
    """A distribution with compiled parts and data, none of which setuptools itself lists."""

    def has_ext_modules(self) -> bool:
        """Ask for a wheel of this platform and Python."""
        return True

    def has_data_files(self) -> bool:
        """Ask for install_data in a wheel."""
        return True

    has_data = has_data_files  # the name under which an editable wheel asks


setup(
    version=ElementTree.parse(SOURCE / 'package.xml').findtext('version'),
    distclass=PlatformDistribution,
    cmdclass={'install_data': InstallPrefix},
)
