"""What touches what in the stand-in for MoveIt: boxes, one cylinder as the hand, what it holds."""

import numpy as np

from don_kp_ros.geometry import rigid

HAND_RADIUS = 0.05  # of the upright cylinder, from the tool centre point up, that is its hand


def corners_of(bodies, T_base_link):
    """Return corners and middles (n, 27, 3) of the boxes that are attached to a link."""
    thirds = (np.array([*np.ndindex(3, 3, 3)]) - 1) / 2
    return [
        rigid.apply(T_base_link @ _matrix(pose), thirds * box.dimensions)
        for body in bodies
        for box, pose in zip(body.primitives, body.primitive_poses, strict=True)
    ]


def in_contact(objects, tcp, held):
    """Tell whether the hand above a tool centre point (3,), or what is held, touches an object."""
    for message in objects:
        for box, pose in zip(message.primitives, message.primitive_poses, strict=True):
            half = np.array(box.dimensions) / 2
            beside = np.abs(tcp[:2] - [pose.position.x, pose.position.y]) - half[:2]
            if pose.position.z + half[2] > tcp[2] and np.hypot(*beside.clip(0.0)) < HAND_RADIUS:
                return True
            for points in held:
                inside = np.abs(rigid.apply(rigid.inverse(_matrix(pose)), points)) < half
                if inside.all(axis=1).any():
                    return True
    return False


def _matrix(pose):
    p, o = pose.position, pose.orientation
    return rigid.from_quaternion([o.x, o.y, o.z, o.w], [p.x, p.y, p.z])
