"""The page of the running stack: real nodes, real physics, and a browser that clicks."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path as PlannedPath
from playwright.sync_api import Locator, Page
from std_msgs.msg import Header

from don_kp.action import Grasp
from don_kp_ros.bringup.domain import free_domain
from don_kp_ros.demo.judge import Judge
from don_kp_ros.demo.session import judged
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit.conversions import pose_from_matrix
from don_kp_ros.nodes.kit.qos import LATCHED
from don_kp_ros.resources import shipped_model
from don_kp_ros.simulation.instances import UNSEEN

CAP = UNSEEN[42]
GOAL_MS = 300_000  # for what takes twenty seconds on an idle machine
SIZE = (640, 480)  # of the simulated camera's picture


@pytest.fixture(scope='module')
def judge(own_domain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    """The stack with a judge of it."""
    logs = tmp_path_factory.mktemp('logs')
    domain = int(os.environ['ROS_DOMAIN_ID'])
    with judged(shipped_model(), logs, domain=domain, parameters={'grasp': {'views': 1}}) as made:
        yield made


@pytest.fixture(scope='module')
def url(judge: Judge, served: Callable) -> Iterator[str]:
    """The page's address."""
    with served('-m', 'don_kp_ros.cli', 'view', '--port', '0') as one:
        yield one.url
    assert 'Traceback' not in ''.join(one.said)


def name_it(page: Page, tool: str, name: str) -> Locator:
    """Choose a tool and name what will be pointed at; return the picture to point at."""
    page.get_by_role('button', name=tool).click()
    page.locator('.q-dialog input').first.fill(name)
    page.get_by_role('button', name='Go on').click()
    page.locator('.hint', has_text=name).wait_for()
    page.locator('.q-dialog__backdrop').wait_for(state='detached')  # it would take the pointer
    picture = page.locator('#picture[data-stamp]')
    picture.wait_for()
    return picture


def edit(page: Page, row: Locator, name: str, tags: str | None = None) -> None:
    """Give what a row lists another name, and tags where it has some."""
    row.get_by_role('button', name='Edit').or_(row.get_by_role('button', name='Rename')).click()
    fields = page.locator('.editing input:visible')
    fields.first.fill(name)
    if tags is not None:
        fields.nth(1).fill(tags)
    page.get_by_role('button', name='Change it').click()
    page.locator('.q-dialog__backdrop').wait_for(state='detached')


def teach_it(
    page: Page,
    point: Callable[[], None],
    done: str,
    correct: Callable[[Locator], None] = lambda _: None,
) -> None:
    """Point until a mask is proposed, correct it, and agree."""
    late = page.locator('.q-notification', has_text='no described image')
    mask = page.locator('.mask')

    def propose() -> None:
        point()
        mask.or_(late).first.wait_for()
        if mask.count():
            mask.get_by_text('% of the picture').wait_for()
            correct(mask)
            mask.get_by_role('button', name='Teach').click()

    pointed(page, propose, done)
    mask.wait_for(state='detached')


def wait_for_lines(page: Page, number: int) -> None:
    """Wait until the 3D scene has so many lines of a planned path."""
    page.wait_for_function(
        """(number) => {
          const scene = Object.entries(window).find(([name]) => name.startsWith('scene_'))?.[1];
          let found = 0;
          scene?.traverse((one) => { found += one.material?.color?.getHexString() === 'ffaa00'; });
          return scene && found === number;
        }""",
        arg=number,
    )


def at(picture: Locator, u: float, v: float) -> dict[str, float]:
    """Return where in an element a pixel of its picture is."""
    box = picture.bounding_box()
    assert box is not None
    return {'x': (u + 0.5) * box['width'] / SIZE[0], 'y': (v + 0.5) * box['height'] / SIZE[1]}


def pointed(page: Page, point: Callable[[], None], done: str) -> Locator:
    """Point until a sentence is told; return it.

    A machine may be so busy that perception has forgotten the picture meanwhile.
    """
    told = page.locator('.q-notification', has_text=done)
    late = page.locator('.q-notification', has_text='no described image')
    while True:
        point()
        told.or_(late).first.wait_for()
        if told.count():
            return told.first
        late.first.get_by_text('OK').click()
        late.first.wait_for(state='detached')


def test_a_point_is_stored_an_object_taught_and_grasped_by_clicks_alone(
    judge: Judge, url: str, page: Page, tmp_path: Path
) -> None:
    judge.reset(1, 0, CAP)
    truth = judge.truth()
    place = round(truth.point_u), round(truth.point_v)
    page.goto(url)

    picture = name_it(page, 'Store a point', 'cap/brim')
    click = functools.partial(picture.click, position=at(picture, *place))
    stored = pointed(page, click, 'is stored for model')
    assert f'pixel ({place[0]}, {place[1]})' in stored.inner_text()  # that was clicked, to one
    row = page.locator('.point', has_text='cap/brim')
    row.locator('img[src^="data:image/png"]').wait_for(state='attached')

    name_it(page, 'Teach an object', 'cap')
    teach_it(page, click, "'cap' is taught")
    page.wait_for_function(
        """() => {
          const marks = JSON.parse(document.getElementById('picture').dataset.marks || '{}');
          return marks.points?.some((m) => m[2].startsWith('cap/brim'))
            && marks.lines?.some((m) => m[5].startsWith('cap '));
        }"""
    )
    page.screenshot(path=tmp_path / 'taught.png')
    page.locator('#picture').hover(position=at(picture, *place))
    page.locator('.what', has_text='cap/brim').wait_for()
    page.get_by_role('tab', name='Objects').click()
    page.locator('.object', has_text='points of 1 view').wait_for()
    page.get_by_role('tab', name='3D').click()
    page.locator('.q-tab-panel canvas').wait_for()
    planned = judge.create_publisher(PlannedPath, 'don_kp/planned_path', LATCHED)
    places = [rigid.transform(translation=[0.1 * x, 0.0, 0.5]) for x in range(3)]
    corners = [PoseStamped(pose=pose_from_matrix(T)) for T in places]
    for poses, lines in (corners, 2), ([], 0):
        planned.publish(PlannedPath(header=Header(frame_id='panda_link0'), poses=poses))
        wait_for_lines(page, lines)
    judge.destroy_publisher(planned)

    before = judge.truth()
    page.get_by_role('tab', name='Grasp').click()
    page.get_by_label('name of a point or an object').fill('cap/brim')
    page.get_by_role('button', name='Grasp', exact=True).click()
    end = page.locator('.end')
    end.wait_for(timeout=GOAL_MS)
    assert end.inner_text().startswith('holding cap/brim')
    told = [text.partition(':')[0] for text in page.locator('.phase').all_inner_texts()]
    assert told == ['observe', 'plan', 'approach', 'close', 'lift', 'verify']
    assert judge.watch_height(0.5) - before.centre.z > 0.10
    page.screenshot(path=tmp_path / 'grasped.png')
    page.get_by_role('button', name='Release').click()
    page.locator('.end', has_text='released').wait_for(timeout=GOAL_MS)
    assert judge.truth().centre.z - before.centre.z < 0.05


def test_what_is_deleted_is_listed_and_restored_and_refusals_are_told(
    judge: Judge, url: str, page: Page
) -> None:
    judge.reset(1, 0, CAP)
    truth = judge.truth()
    place = round(truth.point_u), round(truth.point_v)
    judge.store('cap/rim', *place)
    page.goto(url)
    row = page.locator('.point', has_text='cap/rim')
    row.get_by_role('button', name='Delete').click()
    row.wait_for(state='detached')
    page.get_by_role('switch', name='deleted ones').click()
    row.get_by_role('button', name='Restore').click()
    row.wait_for(state='detached')
    page.get_by_role('switch', name='deleted ones').click()
    row.wait_for()
    edit(page, row, 'cap/edge', 'worn, blue')
    row.wait_for(state='detached')
    edge = page.locator('.point', has_text='cap/edge')
    assert edge.locator('.q-badge').all_inner_texts() == ['blue', 'worn']
    edge.locator('img[src^="data:image/png"]').wait_for(state='attached')
    edit(page, edge, 'cap/rim', 'blue')
    row.wait_for()

    picture = name_it(page, 'Store a point', 'cap/rim')
    click = functools.partial(picture.click, position=at(picture, *place))
    pointed(page, click, 'already stored')
    picture = name_it(page, 'Teach an object', 'outlined')
    corner, box = at(picture, *place), picture.bounding_box()

    def draw() -> None:
        page.mouse.move(box['x'] + corner['x'] + 30, box['y'] + corner['y'])
        page.mouse.down()
        for angle in np.linspace(0, 2 * np.pi, 6)[1:]:
            x, y = 30 * np.cos(angle), 30 * np.sin(angle)
            page.mouse.move(box['x'] + corner['x'] + x, box['y'] + corner['y'] + y)
        page.mouse.up()

    def correct(mask: Locator) -> None:
        """Say that a corner is no part of it, by the right button, and that it is; undo both."""
        image, told = mask.locator('img'), mask.locator('.told')
        drawn = told.inner_text()
        image.click(position={'x': 3, 'y': 3}, button='right')
        mask.locator('path[stroke="#ff6040"]').wait_for(state='attached')
        image.click(position=at(image, *place))
        mask.locator('path[stroke="#40ff60"]').wait_for(state='attached')
        for _ in range(2):
            mask.get_by_role('button', name='Undo').click()
        mask.locator('path').first.wait_for(state='detached')
        assert told.inner_text() == drawn

    teach_it(page, draw, "'outlined' is taught", correct)
    page.get_by_role('tab', name='Objects').click()
    edit(page, page.locator('.object', has_text='outlined'), 'redrawn')
    page.locator('.object', has_text='redrawn').wait_for()

    page.get_by_role('tab', name='Grasp').click()
    page.get_by_label('name of a point or an object').fill('cup/rim')
    page.get_by_role('button', name='Grasp', exact=True).click()
    page.locator('.end', has_text="'cup/rim'").wait_for()
    page.get_by_role('button', name='Stop the arm').click()
    page.locator('.q-notification', has_text='the arm does not move any more').first.wait_for()
    page.get_by_role('button', name='Let the arm move').click()
    page.locator('.q-notification', has_text='the arm may move').first.wait_for()


def test_a_goal_is_cancelled_and_the_arm_stops(
    judge: Judge, url: str, page: Page, paced: Callable
) -> None:
    judge.reset(1, 0, CAP)
    truth = judge.truth()
    judge.store('cap/brim', round(truth.point_u), round(truth.point_v))
    page.goto(url)
    page.get_by_role('tab', name='Grasp').click()
    page.get_by_label('name of a point or an object').fill('cap/brim')
    end = page.locator('.end')
    with paced(judge, 0.5):  # slow enough for a browser that is
        page.get_by_role('button', name='Grasp', exact=True).click()
        page.locator('.phase', has_text='plan').wait_for()
        page.get_by_role('button', name='Cancel').click()
        end.wait_for()
    assert end.inner_text().startswith('not done')
    assert judge.truth().centre.z - truth.centre.z < 0.05
    page.get_by_role('button', name='Release').click()
    page.locator('.end', has_text='released').wait_for()


def test_a_goal_ends_with_the_page_that_sent_it(
    judge: Judge, served: Callable, page: Page, paced: Callable, wait_until: Callable
) -> None:
    judge.reset(1, 0, CAP)
    truth = judge.truth()
    judge.store('cap/brim', round(truth.point_u), round(truth.point_v))
    view = '-m', 'don_kp_ros.cli', 'view', '--port', '0'
    with paced(judge, 0.5), served(*view) as one:
        page.goto(one.url)
        page.get_by_role('tab', name='Grasp').click()
        page.get_by_label('name of a point or an object').fill('cap/brim')
        page.get_by_role('button', name='Grasp', exact=True).click()
        page.locator('.phase', has_text='plan').wait_for()
    assert 'Traceback' not in ''.join(one.said)
    wait_until(judge.at_rest)
    stopped = judge.joints
    judge.watch_height(1.0)
    assert np.abs(judge.joints - stopped).max() < 0.01
    assert judge.grasp(Grasp.Goal(mode='release'), lambda *_: None).success


def demo(folder: Path, domain: object) -> list[str]:
    """Return the command line of the simulation and its page."""
    given = ['--port', '0', '--folder', str(folder), '--domain', str(domain)]
    return ['-m', 'don_kp_ros.cli', 'demo', *given]


def test_the_demo_says_why_it_does_not_start(judge: Judge, tmp_path: Path) -> None:
    # Where a simulated robot is already.
    command = [sys.executable, *demo(tmp_path, os.environ['ROS_DOMAIN_ID'])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert 'simulation ended' in done.stderr and 'in this ROS domain' in done.stderr


def test_the_demo_shows_the_simulation_and_ends_with_it(
    ros_environment: None,
    served: Callable,
    page: Page,
    tmp_path: Path,
    wait_until: Callable,
    nodes_ready: Callable,
) -> None:
    with served(*demo(tmp_path, free_domain())) as one:
        page.goto(one.url)
        page.locator('#picture[data-stamp]').wait_for()
        wait_until(lambda: nodes_ready(tmp_path / 'logs'))
        one.process.send_signal(signal.SIGINT)
        assert one.process.wait(60) == 0
    told = ''.join(one.said)
    assert 'Traceback' not in told and 'killed' not in told
    assert 'Traceback' not in ''.join(log.read_text() for log in (tmp_path / 'logs').iterdir())


def test_where_there_is_no_stack_the_page_says_so(served: Callable, page: Page) -> None:
    with served('-m', 'don_kp_ros.cli', 'view', '--port', '0', '--namespace', 'nobody') as one:
        page.goto(one.url)
        page.locator('.q-notification', has_text='/nobody/list_descriptors').wait_for()
        page.locator('.what', has_text='No picture').wait_for()
