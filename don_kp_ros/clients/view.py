"""Serve the page of a running stack."""

from __future__ import annotations

from collections.abc import Callable

from don_kp_ros.clients.asking import spun
from don_kp_ros.clients.stack import Stack
from don_kp_ros.clients.view_stack import ViewedStack
from don_kp_ros.page.activity import Activity
from don_kp_ros.page.canvas import Canvas
from don_kp_ros.page.channel import Channel
from don_kp_ros.page.picture import CHANNEL
from don_kp_ros.page.server import serve
from don_kp_ros.page.stack_page import root


def view(
    namespace: str,
    camera_namespace: str,
    host: str,
    port: int,
    ended: Callable[[], bool] = lambda: False,
) -> None:
    """Serve the page until a signal comes, or ``ended``; raises RefusedError.

    A goal that runs then is stopped, as nobody looks any more; RefusedError tells that it may go
    on.
    """
    canvas, activity = Canvas(), Activity()
    with Stack(namespace) as stack:
        viewed = ViewedStack(stack, canvas, activity, camera_namespace)
        channel = Channel(canvas, viewed.sight.look)
        with spun(stack):
            page = root(viewed, canvas, activity)
            try:
                serve(page, {CHANNEL: channel}, 'don_kp', host, port, ended)
            finally:
                viewed.goals.stop()
