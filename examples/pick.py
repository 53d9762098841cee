"""Store a point of what the camera sees, look for it, grasp there, and let go.

    .venv/bin/don_kp bringup simulation:=true          # in one terminal
    .venv/bin/python examples/pick.py cap/brim 336 265 # in another, when the first says "ready"
"""

import argparse
import sys
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.task import Future

from don_kp.action import Grasp
from don_kp.msg import Matches
from don_kp.srv import StoreDescriptor


def main() -> None:
    parser = argparse.ArgumentParser(description='Store, look, grasp and let go.')
    parser.add_argument('name', help='of the point, such as cap/brim')
    parser.add_argument('u', type=int, help='pixels to the right')
    parser.add_argument('v', type=int, help='pixels down')
    options = parser.parse_args()
    rclpy.init()
    node = rclpy.create_node('pick')

    def answer(future: Future, of: str, seconds: float) -> Any:
        rclpy.spin_until_future_complete(node, future, timeout_sec=seconds)
        return future.result() if future.done() else sys.exit(f'{of}: nothing in {seconds:g} s')

    store = node.create_client(StoreDescriptor, 'store_descriptor')
    grasp = ActionClient(node, Grasp, 'grasp')
    if not (store.wait_for_service(10.0) and grasp.wait_for_server(10.0)):
        sys.exit('the stack is not there: start `don_kp bringup simulation:=true` first')

    request = StoreDescriptor.Request(name=options.name, u=options.u, v=options.v, replace=True)
    stored = answer(store.call_async(request), 'store_descriptor', 10.0)
    if not stored.success:
        sys.exit(f'not stored: {stored.message}')
    print(stored.message)

    found = Future()

    def look(matches: Matches) -> None:
        for match in matches.matches:
            if match.name == options.name and match.found and not found.done():
                found.set_result(match)

    node.create_subscription(Matches, 'don_kp/matches', look, 10)
    match = answer(found, f'{options.name} in don_kp/matches', 10.0)
    print(f'found at pixel ({match.u:.0f}, {match.v:.0f}), score {match.score:.3f}')

    for goal in Grasp.Goal(target=options.name), Grasp.Goal(mode=Grasp.Goal.RELEASE):
        handle = answer(grasp.send_goal_async(goal), 'grasp', 10.0)
        if not handle.accepted:
            sys.exit('the goal was rejected: another grasp is running')
        result = answer(handle.get_result_async(), 'grasp', 120.0).result
        if not result.success:
            sys.exit(f'grasp failed: {result.message}')
        print(result.message)
    rclpy.shutdown()


if __name__ == '__main__':
    main()
