"""Build the interfaces with CMake and put them, the code and the data into one wheel.

With a ROS installation, colcon builds the same CMakeLists.txt and does not come here. Where
DON_KP_WITHOUT_ROS is set, the wheel holds code and data alone, for any machine, and depends on
next to nothing: extras bring what is wanted, such as `train`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from setuptools import Command, Distribution, setup

SOURCE = Path(__file__).resolve().parent
# Interfaces of other packages, made where ROS does not bring them.
FOREIGN = [path.name for path in (SOURCE / 'cmake').glob('*')]
BUILD = SOURCE / 'build' / f'cmake-{sys.implementation.cache_tag}'


def build_with_cmake() -> Path:
    """Build and install the package into a folder of its own; return that folder."""
    import ament_package  # only here: one of the requirements that setup() names below

    # The ROS wheels unpack into an environment's prefix, four levels above __init__.py.
    ros_prefix = Path(ament_package.__file__).parents[4]
    cache = BUILD / 'CMakeCache.txt'
    if cache.exists() and f'ROS_PREFIX:PATH={ros_prefix}\n' not in cache.read_text():
        shutil.rmtree(BUILD)
    prefix = BUILD / 'prefix'
    shutil.rmtree(prefix, ignore_errors=True)
    generator = ['-G', 'Ninja'] if shutil.which('ninja') else []
    environment = {**os.environ, 'AMENT_PREFIX_PATH': str(ros_prefix)}
    for command in (
        [
            *('cmake', '-S', SOURCE, '-B', BUILD, *generator),
            f'-DROS_PREFIX:PATH={ros_prefix}',
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
        for package in ('don_kp', *FOREIGN):
            if (made := site_packages / package).is_dir():
                shutil.copytree(made, Path(self.install_lib) / package, dirs_exist_ok=True)
        # Without their CMake files, the next build does not take ours for those of ROS.
        for package in FOREIGN:
            shutil.rmtree(prefix / 'share' / package / 'cmake', ignore_errors=True)
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


def pins(*names: str) -> list[str]:
    """Read the requirements of some files."""
    lines = [
        line
        for name in names
        for line in (SOURCE / 'requirements' / f'{name}.txt').read_text().splitlines()
    ]
    return [line for line in lines if line and not line.startswith('#')]


def data_files() -> list[tuple[str, list[str]]]:
    """List configuration files and models with the folders that CMake installs them to."""
    paths = [
        path.relative_to(SOURCE)
        for name in ('config', 'models')
        for path in (SOURCE / name).rglob('*')
    ]
    return [(f'share/don_kp/{path.parent}', [str(path)]) for path in paths if path.is_file()]


if os.environ.get('DON_KP_WITHOUT_ROS'):
    parts = {'install_requires': pins('base'), 'data_files': data_files()}
else:
    parts = {
        'setup_requires': pins('build'),
        'install_requires': pins(
            'base',
            'train',
            'server',
            'meshes',
            'simulation',
            'recordings',
            'page',
            'planner',
            'ros',
            'export',
        ),
        'distclass': PlatformDistribution,
        'cmdclass': {'install_data': InstallPrefix},
    }
setup(version=ElementTree.parse(SOURCE / 'package.xml').findtext('version'), **parts)
