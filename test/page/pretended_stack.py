"""A page whose stack is only pretended: `python pretended_stack.py HOST [LACKS]` serves it.

Every name and every sentence of it would run a script, if it became part of the document. What it
is asked to do, it prints. With LACKS, new pictures come, which lack marks for that reason.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from don_kp_ros.errors import RefusedError
from don_kp_ros.page.activity import Activity
from don_kp_ros.page.canvas import Canvas, Line, Marker, Picture, Stamp
from don_kp_ros.page.channel import Channel
from don_kp_ros.page.picture import CHANNEL
from don_kp_ros.page.port import Proposed, Scene, StoredObject, StoredPoint
from don_kp_ros.page.server import serve
from don_kp_ros.page.stack_page import root

EVIL = '<img src=x onerror="window.injected = 1"><script>window.injected = 1</script>'
LONG = EVIL + 'x' * 100_000


class PretendedStack:
    """Answers with what nobody should believe."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    async def store(self, name: str, stamp: Stamp, uv: object, *rest: object) -> str:
        print('asked: store', repr(name), tuple(stamp), uv, *rest, flush=True)
        return f'{name} is stored'

    async def propose(self, stamp: Stamp, uv: object, outline: Sequence) -> Proposed:
        print('asked: propose', tuple(stamp), uv, len(outline), flush=True)
        pixels = np.full((120, 160, 3), (70, 110, 80), np.uint8)
        for left in 30, 100:
            cv2.circle(pixels, (left, 60), 20, (190, 40, 50), -1)
        mask = np.zeros((120, 160), np.uint8)
        mask[45:76, 15:46] = 255
        return Proposed(stamp, pixels, mask)

    async def teach(self, name: str, stamp: Stamp, mask: np.ndarray, *_: object) -> str:
        shares = [float((mask[:, half] > 0).mean()) for half in (slice(65), slice(65, None))]
        print('asked: teach', repr(name), tuple(stamp), shares, flush=True)
        return f'{name} is taught'

    async def rank(self, uv: object) -> str:
        return EVIL

    async def points(self, deleted: bool) -> list[StoredPoint]:
        return [StoredPoint(name, EVIL, EVIL, (EVIL,), 2) for name in (EVIL, 'a', LONG)]

    async def patch(self, point: StoredPoint) -> bytes:
        return b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.injected = 1"/>'

    async def delete_point(self, point: StoredPoint) -> str:
        raise RefusedError(EVIL)

    async def change_point(self, point: StoredPoint, name: str, tags: Sequence[str] | None) -> str:
        print('asked: change', len(point.name), repr(name), tags, flush=True)
        return f'{point.name} is now {name}'

    async def rename_object(self, taught: StoredObject, name: str) -> str:
        print('asked: rename', repr(taught.name), repr(name), flush=True)
        raise RefusedError(EVIL)

    restore_point = delete_object = delete_point

    async def objects(self) -> list[StoredObject]:
        return [StoredObject(EVIL, EVIL, 1, 2, (EVIL,))]

    async def show_heatmap(self, name: str) -> None:
        raise RefusedError(EVIL)

    async def grasp(self, target: str, aligned: bool) -> str:
        print('asked: grasp', repr(target), aligned, flush=True)
        self._activity.begin(EVIL)
        self._activity.phase(EVIL, EVIL)
        self._activity.finish(EVIL, ok=False)
        raise RefusedError(EVIL)

    async def release(self) -> str:
        raise RefusedError(EVIL)

    async def cancel(self) -> None:
        raise RefusedError(EVIL)

    async def enable(self, on: bool) -> str:
        print('asked: enable', on, flush=True)
        return EVIL

    async def scene(self) -> Scene:
        frames = {'base': np.eye(4), f'object/{EVIL}': np.eye(4)}
        return Scene(frames, [(f'object/{EVIL}', 'base')], np.zeros((2, 3)), None, np.eye(3), EVIL)


def main(host: str, lacks: str = '') -> None:
    canvas, activity = Canvas(), Activity()
    stamp = Stamp(12, 345_000_000)
    picture = Picture(stamp, np.full((48, 64, 3), (200, 30, 40), np.uint8))
    canvas.show(picture)
    canvas.lacks = lacks
    canvas.examine(stamp)
    canvas.mark('points', [Marker(10.0, 20.0, EVIL), Marker(float('nan'), 1.0)])
    canvas.mark('lines', [Line((1.0, 2.0), (3.0, 4.0), EVIL, EVIL)])
    page, ended = root(PretendedStack(activity), canvas, activity), threading.Event()

    def show() -> None:
        while not ended.wait(0.1):
            canvas.show(replace(picture))

    if lacks:
        threading.Thread(target=show).start()
    serve(page, {CHANNEL: Channel(canvas)}, 'pretended', host, 0)
    ended.set()


if __name__ == '__main__':
    main(*sys.argv[1:])
