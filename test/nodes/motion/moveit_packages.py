"""Stands in for moveit_configs_utils and for the packages that it reads.

It finds and lacks the files that the real one does; nothing is read from xacro.
"""

from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory


class ParameterBuilderFileNotFoundError(KeyError):
    pass


class MoveItConfigsBuilder:
    def __init__(self, robot_name, robot_description='robot_description', package_name=None):
        self.share = Path(get_package_share_directory(package_name))
        self.robot_name, self.parameters = robot_name, {'robot_description_planning': {}}

    def robot_description(self, file_path=None, mappings=None):
        return self._keep('robot_description', self._text(file_path, f'{self.robot_name}.urdf'))

    def robot_description_semantic(self, file_path=None, mappings=None):
        text = self._text(file_path, f'{self.robot_name}.srdf')
        return self._keep('robot_description_semantic', text)

    def trajectory_execution(self, file_path=None, moveit_manage_controllers=True):
        self.parameters.update(yaml.safe_load(self._text(file_path, 'moveit_controllers.yaml')))
        return self

    def joint_limits(self, file_path=None):
        return self._limit(file_path, 'joint_limits.yaml')

    def pilz_cartesian_limits(self, file_path=None):
        return self._limit(file_path, 'pilz_cartesian_limits.yaml')

    def planning_pipelines(self, default_planning_pipeline=None, pipelines=None, load_all=True):
        for name in pipelines:
            path = self.share / 'config' / f'{name}_planning.yaml'
            self._keep(name, yaml.safe_load(path.read_text()) if path.exists() else {})
        return self._keep('planning_pipelines', pipelines)

    def to_moveit_configs(self):
        kinematics = yaml.safe_load(self._text(None, 'kinematics.yaml'))
        return self._keep('robot_description_kinematics', kinematics)

    def to_dict(self):
        return self.parameters

    def _limit(self, file_path, usual):
        limits = yaml.safe_load(self._text(file_path, usual))
        self.parameters['robot_description_planning'].update(limits)
        return self

    def _text(self, file_path, usual):
        path = self.share / (file_path or f'config/{usual}')
        if not path.exists():
            raise ParameterBuilderFileNotFoundError(f"File {path} doesn't exist")
        return path.read_text()

    def _keep(self, key, value):
        self.parameters[key] = value
        return self


# Packages as they were found, cut down: of moveit_resources 3.0.0, whose Pilz has no response
# adapters, and of franka_ros2 v3.4.0, whose files are the Panda's or those of its own launch file.
_ADAPTERS = [
    f'default_planning_request_adapters/{name}'
    for name in ('ResolveConstraintFrames', 'CheckStartStateBounds', 'CheckStartStateCollision')
]
_OMPL = {'planner_configs': {'RRTConnectkConfigDefault': {'type': 'geometric::RRTConnect'}}}
PACKAGES = {
    'moveit_resources_panda_moveit_config': {
        'panda.urdf.xacro': 'the Panda',
        'panda.srdf': 'its groups',
        'gripper_moveit_controllers.yaml': {
            'moveit_controller_manager': 'moveit_simple_controller_manager/...',
            'moveit_simple_controller_manager': {'controller_names': ['panda_arm_controller']},
        },
        'joint_limits.yaml': {'joint_limits': {'panda_joint1': {'max_acceleration': 3.75}}},
        'kinematics.yaml': {'panda_arm': {'kinematics_solver_timeout': 0.05}},
        'pilz_cartesian_limits.yaml': {'cartesian_limits': {'max_trans_vel': 0.5}},
        'ompl_planning.yaml': {'planning_plugins': ['ompl_interface/OMPLPlanner']} | _OMPL,
        'pilz_industrial_motion_planner_planning.yaml': {
            'planning_plugins': ['pilz_industrial_motion_planner/CommandPlanner'],
            'request_adapters': _ADAPTERS,
            'default_planner_config': 'PTP',
        },
    },
    'franka_fr3_moveit_config': {
        'fr3_controllers.yaml': {'controller_names': ['fr3_arm_controller', 'fr3_gripper']},
        'fr3_joint_limits.yaml': {'joint_limits': {'fr3_joint1': {'max_acceleration': 3.75}}},
        'kinematics.yaml': {'fr3_arm': {'kinematics_solver_timeout': 0.005}},
        'ompl_planning.yaml': {'panda_arm': {'planner_configs': list(_OMPL)}} | _OMPL,
    },
    'franka_description': {
        '../robots/fr3/fr3.urdf.xacro': 'the FR3',
        '../robots/fr3/fr3.srdf.xacro': 'its groups',
    },
}


def install(prefix):
    """Write the packages below an installation's prefix."""
    for package, files in PACKAGES.items():
        marker = prefix / 'share/ament_index/resource_index/packages' / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        for name, content in files.items():
            (prefix / 'share' / package / 'config').mkdir(parents=True, exist_ok=True)
            path = (prefix / 'share' / package / 'config' / name).resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
