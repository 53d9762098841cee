"""The sequence of a pick, on a motion that only writes down what it is asked."""

import numpy as np
import pytest

from don_kp_ros.grasping.candidates import GraspCandidate
from don_kp_ros.grasping.pick import EmptyGripperError, Picker, PickParameters
from don_kp_ros.motion.port import GraspPlan, MotionCode, MotionError, PlacePlan, Segment

OPEN = 0.08


class Recorder:
    """Does what it is asked; `widths` are what the fingers settle at, `failures` what fails."""

    def __init__(self, widths, failures=None):
        self.widths, self.failures, self.calls = list(widths), failures or {}, []

    def _note(self, call):
        self.calls.append(call)
        if call in self.failures:
            raise MotionError(self.failures[call], f'{call} failed')

    def set_gripper(self, width, force):
        self._note('open' if width else 'close')
        return self.widths.pop(0)

    def gripper_width(self):
        return self.widths.pop(0)

    def execute(self, segment):
        self._note(segment.name)

    def move_to_joints(self, q, let_go):
        assert let_go  # a pick goes home only with fingers that have opened
        self._note('home')

    def wait(self, seconds):
        self._note(f'wait {seconds:g}')

    def set_obstacles(self, heights):
        self._note('obstacles')

    def hold(self, held):
        self._note('hold' if held else 'hold nothing')

    def plan_place(self, T, distance):
        assert distance == 0.1
        self._note('plan place')
        names = ('to pre-place', 'lower', 'retreat')
        return PlacePlan(T, *[Segment(name, 1.0, None) for name in names])

    def plan_grasp(self, T, approach_distance, lift_height, open_width):
        assert (approach_distance, lift_height, open_width) == (0.1, 0.2, OPEN)
        self._note(f'plan {T[0, 3]:g}')
        segments = [Segment(name, 1.0, None) for name in ('to pre-grasp', 'approach', 'lift')]
        return GraspPlan(T, open_width, *segments)


def picker(motion):
    return Picker(motion, np.zeros(7), OPEN, PickParameters(0.1, 0.2, 30.0, 0.005, 0.01))


def pick(motion):
    phases = []
    chosen = picker(motion)
    plan = chosen.plan([candidate(0)], None)
    motion.calls.clear()
    try:
        return chosen.execute(plan, lambda phase, _: phases.append(phase.value)), phases
    except (EmptyGripperError, MotionError) as error:
        return error, phases


def candidate(x):
    T = np.eye(4)
    T[0, 3] = x
    return GraspCandidate(T, float('nan'), 0.0)


def test_what_is_held_is_lifted():
    motion = Recorder([OPEN, 0.06, 0.058])
    picked, phases = pick(motion)
    assert picked.width == 0.058
    assert motion.calls == ['open', 'to pre-grasp', 'approach', 'close', 'lift', 'wait 0.01']
    assert phases == ['approach', 'close', 'lift', 'verify']


def test_nothing_between_the_fingers_sends_the_arm_home_open():
    motion = Recorder([OPEN, 0.001, OPEN])
    error, phases = pick(motion)
    assert isinstance(error, EmptyGripperError)
    assert motion.calls[4:] == ['open', 'lift', 'home']
    assert phases[-1] == 'retreat'


def test_what_is_lost_in_the_lift_sends_the_arm_home_open():
    motion = Recorder([OPEN, 0.06, 0.0, OPEN])
    error, _ = pick(motion)
    assert isinstance(error, EmptyGripperError)
    assert 'lost during the lift' in str(error)
    assert motion.calls[5:] == ['wait 0.01', 'open', 'home']


@pytest.mark.parametrize(
    ('call', 'widths', 'reason'),
    [('home', [OPEN], 'home failed'), ('none', [0.02], 'opened to 20 mm instead of 80 mm')],
)
def test_a_failed_retreat_does_not_hide_its_cause(call, widths, reason):
    motion = Recorder([OPEN, 0.001, *widths], {call: MotionCode.NOT_FOLLOWED})
    error, _ = pick(motion)
    assert isinstance(error, EmptyGripperError)
    assert 'closed to 1 mm' in str(error)
    assert 'the retreat failed' in str(error)
    assert reason in str(error)


def test_fingers_that_do_not_open_or_close_move_no_arm():
    motion = Recorder([0.07])
    error, _ = pick(motion)
    assert error.code is MotionCode.NOT_FOLLOWED
    assert motion.calls == ['open']
    motion = Recorder([OPEN, OPEN])
    error, _ = pick(motion)
    assert error.code is MotionCode.NOT_FOLLOWED
    assert 'lift' not in motion.calls


@pytest.mark.parametrize(
    ('code', 'goes_on'),
    [
        (MotionCode.UNREACHABLE, True),
        (MotionCode.COLLISION, True),
        (MotionCode.TIMEOUT, True),
        (MotionCode.CANCELLED, False),
        (MotionCode.STALE_STATE, False),
    ],
)
def test_where_one_grasp_cannot_be_planned_the_next_is_tried(code, goes_on):
    motion = Recorder([], {'plan 0': code})
    candidates = [candidate(0), candidate(1)]
    if goes_on:
        assert picker(motion).plan(candidates, None).T_base_grasp[0, 3] == 1
        with pytest.raises(MotionError, match=r'none of 1 grasps can be reached; .*plan 0 failed'):
            picker(motion).plan(candidates[:1], None)
    else:
        with pytest.raises(MotionError) as caught:
            picker(motion).plan(candidates, None)
        assert caught.value.code is code


@pytest.mark.parametrize(('width', 'held'), [(0.004, False), (0.05, True), (0.079, False)])
def test_holding_is_neither_closed_nor_open(width, held):
    assert picker(Recorder([width])).holds_something() is held


def test_going_home_leaves_the_fingers():
    motion = Recorder([])
    picker(motion).go_home(let_go=True)
    assert motion.calls == ['home']


WAY = ['plan place', 'to pre-place', 'lower', 'forget', 'open']


def test_what_is_placed_is_let_go_and_left_upwards():
    motion = Recorder([0.03, OPEN, OPEN])
    picker(motion).place(np.eye(4), lambda: motion.calls.append('forget'))
    assert motion.calls == [*WAY, 'hold nothing', 'retreat', 'open']


def test_what_hinders_open_fingers_is_left_upwards():
    motion = Recorder([0.03, 0.05, OPEN])
    picker(motion).place(np.eye(4), lambda: motion.calls.append('forget'))
    assert motion.calls[-2:] == ['retreat', 'open']


def test_fingers_that_do_not_let_go_stay():
    motion = Recorder([0.03, 0.033])
    with pytest.raises(MotionError, match='opened from 30 to 33 mm'):
        picker(motion).place(np.eye(4), lambda: motion.calls.append('forget'))
    assert motion.calls == WAY


def test_what_is_lost_on_the_way_is_told():
    motion = Recorder([0.0])
    with pytest.raises(EmptyGripperError, match='lost on the way'):
        picker(motion).place(np.eye(4), lambda: motion.calls.append('forget'))
    assert motion.calls == WAY[:3]


def test_where_no_way_to_a_place_is_found_nothing_moves():
    motion = Recorder([], {'plan place': MotionCode.COLLISION})
    with pytest.raises(MotionError):
        picker(motion).place(np.eye(4), lambda: motion.calls.append('forget'))
    assert motion.calls == ['plan place']
