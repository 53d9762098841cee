"""Store a point that the camera sees, look for it, grasp there, and let go.

export ROS_DOMAIN_ID=77                             # that of a simulation, in both terminals
.venv/bin/don_kp bringup simulation:=true           # in one
.venv/bin/python examples/pick.py cap/brim 336 265  # in the other: a name, and the pixel u v
"""

import sys
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.task import Future

from don_kp.action import Grasp
from don_kp.msg import Matches
from don_kp.srv import StoreDescriptor

if len(sys.argv) != 4:
    sys.exit(__doc__)
name, u, v = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rclpy.init()
node = rclpy.create_node('pick')
store = node.create_client(StoreDescriptor, 'store_descriptor')
grasp = ActionClient(node, Grasp, 'grasp')
found = Future()


def look(message: Matches) -> None:
    """Wait no longer once the point is found."""
    if any(match.name == name and match.found for match in message.matches):
        found.set_result(message)


def wait_for(future: Future, what: str, seconds: float = 10.0) -> Any:
    """Return what was asked for; exit where it does not come."""
    rclpy.spin_until_future_complete(node, future, timeout_sec=seconds)
    return future.result() if future.done() else sys.exit(f'no {what} within {seconds:g} s')


if not (store.wait_for_service(10.0) and grasp.wait_for_server(10.0)):
    sys.exit(
        'the stack does not run in this ROS domain; `don_kp bringup simulation:=true` starts '
        'it in domain 77: export ROS_DOMAIN_ID=77'
    )
request = StoreDescriptor.Request(name=name, u=u, v=v, replace=True)
stored = wait_for(store.call_async(request), 'answer from store_descriptor')
if not stored.success:
    sys.exit(f'not stored: {stored.message}')
node.create_subscription(Matches, 'don_kp/matches', look, 10)
wait_for(found, f'{name} in don_kp/matches')
for goal in Grasp.Goal(target=name), Grasp.Goal(mode=Grasp.Goal.RELEASE):
    handle = wait_for(grasp.send_goal_async(goal), 'answer from grasp')
    if not handle.accepted:
        sys.exit('not grasped: another grasp is running')
    result = wait_for(handle.get_result_async(), 'result of grasp', seconds=120.0).result
    if not result.success:
        sys.exit(f'not grasped: {result.message}')
    print(result.message)
rclpy.shutdown()
