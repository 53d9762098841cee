"""What the arm is held to: limits read from files, and poses, ways and forces judged by them."""

from dataclasses import replace

import numpy as np
import pytest

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import Safety, Scaling, load_safety
from don_kp_ros.robots import hand
from don_kp_ros.robots.preset import load_preset

PRESET = load_preset('panda')
LIMITS = load_safety()
OBSERVE = PRESET.position('observe')
DOWN = np.diag([1.0, -1.0, -1.0])


@pytest.fixture
def safety():
    return Safety(LIMITS, PRESET, Scaling(0.2, 0.2), 'call /recover')


def refusal(call):
    with pytest.raises(MotionError) as caught:
        call()
    return caught.value


def at(x=0.5, y=0.0, z=0.2, tilt=0.0):
    return rigid.transform(rigid.rotation_about([0.0, 1.0, 0.0], tilt) @ DOWN, [x, y, z])


@pytest.mark.parametrize(
    ('T', 'told'),
    [
        (at(x=0.86), 'its x is 0.860 m, allowed are 0.2 to 0.85 m'),
        (at(y=-0.51), 'its y is -0.510 m, allowed are -0.5 to 0.5 m'),
        (at(z=1.01), 'its z is 1.010 m'),
        # The fingers end 9 mm below the tool centre point.
        (at(z=0.012), 'would be 3 mm over the table; safety asks for 5 mm'),
        (at(tilt=1.8), 'tilted by 103 degrees; safety allows 100'),
        (at(x=np.nan), 'not finite'),
    ],
)
def test_a_pose_beyond_a_limit_is_refused(safety, T, told):
    error = refusal(lambda: safety.check_pose(T))
    assert error.code is MotionCode.OUTSIDE
    assert told in str(error)


def test_poses_within_the_limits_pass(safety):
    for T in (at(0.2), at(0.85), at(z=0.014), at(tilt=1.7), at(y=0.5)):
        safety.check_pose(T)
    safety.check_joints(OBSERVE)


def test_the_lowest_end_of_the_fingers_is_that_of_their_corners():
    generator = np.random.default_rng(3)
    outer = 0.04 + hand.FINGER_THICKNESS
    corners = [
        (x * hand.FINGER_BREADTH / 2, y * outer, hand.TIP_LENGTH) for x in (-1, 1) for y in (-1, 1)
    ]
    for _ in range(50):
        turn = rigid.rotation_about(generator.normal(size=3), generator.uniform(0, 3))
        T = rigid.transform(turn, generator.uniform(-1, 1, 3))
        lowest = rigid.apply(T, corners)[:, 2].min()
        assert hand.lowest_of_fingers(T, 0.08) == pytest.approx(lowest)


def way(count=20, turn=1.0):
    """A way about the first joint: the tool leaves the workspace at x < 0.2 or |y| > 0.5."""
    share = np.linspace(0.0, 1.0, count)[:, None]
    return OBSERVE + share * np.array([turn, 0, 0, 0, 0, 0, 0])


def test_a_way_that_leaves_the_workspace_is_refused_and_one_that_returns_is_not(safety):
    still = np.zeros((20, 7))
    safety.check_way(way(turn=0.9), still)
    assert refusal(lambda: safety.check_way(way(turn=1.5), still)).code is MotionCode.OUTSIDE
    # From there it may come back.
    safety.check_way(way(turn=1.5)[::-1], still)
    farther = way(turn=2.0)[15:]
    assert safety.beyond(Kinematics(PRESET).forward(farther[0])).max() > 0.001
    assert refusal(lambda: safety.check_way(farther, still[15:])).code is MotionCode.OUTSIDE


def test_a_joint_beyond_its_range_may_come_back_but_get_no_farther(safety):
    way, still = np.repeat(OBSERVE[None], 5, axis=0), np.zeros((5, 7))
    way[:, 6] = PRESET.position_upper[6] + np.linspace(0.003, -0.1, 5)
    safety.check_way(way, still)
    error = refusal(lambda: safety.check_way(way[::-1], still))
    assert error.code is MotionCode.UNREACHABLE
    assert 'panda_joint7 would be at 2.900 rad' in str(error) and '-2.8973 to 2.8973' in str(error)
    farther = way.copy()
    farther[2, 6] = way[0, 6] + 0.001
    assert refusal(lambda: safety.check_way(farther, still)).code is MotionCode.UNREACHABLE
    assert refusal(lambda: safety.check_joints(way[0])).code is MotionCode.UNREACHABLE


def test_a_way_that_is_too_fast_or_no_number_is_refused(safety):
    speeds = np.zeros((20, 7))
    speeds[10, 4] = 0.2 * PRESET.velocity_limits[4]
    safety.check_way(way(turn=0.5), speeds)
    for speed in (0.25 * PRESET.velocity_limits[4], -3.0, np.nan):
        speeds[10, 4] = speed
        error = refusal(lambda: safety.check_way(way(turn=0.5), speeds))
        assert error.code is MotionCode.OUTSIDE and 'panda_joint5' in str(error)
    positions = way(turn=0.5)
    positions[7, 2] = np.nan
    refusal(lambda: safety.check_way(positions, np.zeros((20, 7))))


def test_forces_are_limited(safety):
    safety.check_force(40.0)
    for force in (40.1, 0.0, -1.0, np.nan, np.inf):
        assert refusal(lambda f=force: safety.check_force(f)).code is MotionCode.OUTSIDE


def test_after_an_abort_nothing_moves_until_it_is_recovered(safety):
    safety.check_recovered()
    error = safety.abort('the motion was aborted by /arm')
    assert error.code is MotionCode.NOT_FOLLOWED and 'call /recover' in str(error)
    refused = refusal(safety.check_recovered)
    assert refused.code is MotionCode.NEEDS_RECOVERY
    assert 'aborted by /arm' in str(refused) and 'call /recover' in str(refused)
    assert safety.recover() == 'the motion was aborted by /arm'
    safety.check_recovered()
    assert safety.recover() == ''


def test_a_file_of_the_users_own_overrides_single_keys(tmp_path):
    own = tmp_path / 'mine.yaml'
    own.write_text('workspace: {x: [0.3, 0.6]}\nhardware: {velocity: 0.1}\n')
    limits = load_safety(str(own))
    assert limits.workspace == replace(LIMITS.workspace, x=(0.3, 0.6))
    assert limits.hardware == Scaling(0.1, 0.2)
    assert replace(limits, workspace=LIMITS.workspace, hardware=LIMITS.hardware) == LIMITS
    assert limits.workspace.grid.shape == (30, 100)


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('workspace: {x: [0.6, 0.3]}', r'mine\.yaml above .*workspace\.x is \[0\.6, 0\.3\]'),
        ('workspace: {x: [0.3, 0.3]}', 'low < high'),
        ('workspace: {x: [0.3, .nan]}', r'workspace\.x.* is nan'),
        ('hardware: {velocity: 1.5}', r'hardware\.velocity is 1\.5; it must lie in \(0, 1\]'),
        ('hardware: {velocity: 0}', 'hardware.velocity is 0'),
        ('simulation: {line: 0}', 'simulation.line is 0'),
        ('force_limit: 90', 'force_limit is 90.0; allowed is 1 to 70'),
        ('force_limit: .nan', 'force_limit is nan'),
        ('table_margin: -0.01', 'table_margin is -0.01'),
        ('largest_tilt: fast', "largest_tilt is 'fast'; float is expected"),
        ('tabel_margin: 0.01', 'unknown key tabel_margin.*did you mean table_margin'),
        ('[]', 'a mapping is expected'),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_key(tmp_path, text, told):
    own = tmp_path / 'mine.yaml'
    own.write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        load_safety(str(own))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r'nowhere\.yaml.*no such file'):
        load_safety(str(tmp_path / 'nowhere.yaml'))
    with pytest.raises(ConfigurationError, match=r'~nobody_here/mine\.yaml.*no such file'):
        load_safety('~nobody_here/mine.yaml')


def test_what_is_carried_is_moved_gently_and_never_faster_than_is_allowed():
    for allowed, carried in ((1.0, 0.2), (0.1, 0.1)):
        safety = Safety(LIMITS, PRESET, Scaling(1.0, allowed))
        assert safety.acceleration(carrying=False) == allowed
        assert safety.acceleration(carrying=True) == carried
