"""A node's robot."""

from rclpy.node import Node

from don_kp_ros.robots.preset import RobotPreset, load_preset, preset_files


def robot_preset(node: Node, robot: str) -> RobotPreset:
    """Load a preset by a robot's name or file; log the files that it comes from, and doubts.

    Raises as `load_preset` does.
    """
    preset = load_preset(robot)
    files = ' and '.join(map(str, preset_files(robot)))
    node.get_logger().info(
        f'the robot is {preset.name}, from {files}; the pose of the camera in '
        f'{preset.hand_frame} is that of {preset.camera.frame}'
    )
    if doubts := preset.doubts_of_camera():
        node.get_logger().warning(doubts)
    return preset
