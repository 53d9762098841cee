"""Perception as a managed node: what it has in each state, and what it says where it is not."""

import pytest
import torch
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import Image

from don_kp.msg import Matches, Model
from don_kp.srv import Describe, LoadModel
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.nodes.kit.qos import LATCHED, RESULT


@pytest.fixture
def node(start_node, checkpoint, peer):
    node = start_node('perception', model=checkpoint, threads=1, max_rate_hz=0, autostart=False)
    try:
        peer.meet('/perception/get_state')
        assert state(peer) == State.PRIMARY_STATE_UNCONFIGURED
        yield node
    finally:
        status = node.end()  # also after a failure, or the next test meets two
    assert status == 0
    assert 'Traceback' not in node.output


@pytest.fixture
def other(tmp_path):
    """A checkpoint of another dimension."""
    network = NetworkConfiguration('resnet18', channels=8, dimension=6)
    torch.manual_seed(1)
    weights = DescriptorNetwork(network).state_dict()
    path = tmp_path / 'other.safetensors'
    Checkpoint(network, Preprocessing(96), weights, 0.9).save(path)
    return path


def state(peer):
    return peer.call(GetState, '/perception/get_state').current_state.id


def change(peer, transition):
    """Ask for a transition; tell whether it succeeds."""
    request = Transition(id=transition)
    return peer.call(ChangeState, '/perception/change_state', transition=request).success


def refusal(peer):
    answer = peer.call(Describe, '/perception/describe', u=[3.0], v=[4.0])
    assert not answer.success
    return answer.message


def test_each_state_has_what_it_needs_and_no_more(node, peer, camera):
    told = peer.listen(Model, '/don_kp/model', LATCHED)
    configure, activate = (
        f'`ros2 lifecycle set /perception {one}`' for one in ('configure', 'activate')
    )
    assert refusal(peer) == f'/perception is unconfigured: run {configure}, then {activate}'
    assert change(peer, Transition.TRANSITION_CONFIGURE)
    peer.wait_until(lambda: told)
    assert refusal(peer) == f'/perception is inactive: run {activate}'
    assert not camera.colours.get_subscription_count()
    for _ in range(2):
        assert change(peer, Transition.TRANSITION_ACTIVATE)
        camera.wait_until_watched()
        camera.show_until_seen()
        assert change(peer, Transition.TRANSITION_DEACTIVATE)
        peer.wait_until(lambda: not camera.colours.get_subscription_count())
        assert '/perception is inactive' in refusal(peer)
    assert change(peer, Transition.TRANSITION_CLEANUP)
    answer = peer.call(LoadModel, '/don_kp/load_model', path='any')
    assert answer.message == f'/perception is unconfigured: run {configure}'
    assert change(peer, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert refusal(peer) == '/perception is finalized: start it anew'


def test_a_transition_that_fails_says_why_and_leaves_the_node_as_it_was(
    start_node, peer, tmp_path
):
    node = start_node('perception', model=tmp_path / 'none.safetensors', autostart=False)
    try:
        peer.meet('/perception/get_state')
        assert state(peer) == State.PRIMARY_STATE_UNCONFIGURED
        assert not change(peer, Transition.TRANSITION_CONFIGURE)
        node.wait_for(f'cannot configure: {tmp_path}/none.safetensors')
        assert state(peer) == State.PRIMARY_STATE_UNCONFIGURED
    finally:
        status = node.end()
    assert status == 0
    assert 'Traceback' not in node.output


def test_a_transition_that_a_state_does_not_have_is_refused(node, peer):
    assert not change(peer, Transition.TRANSITION_ACTIVATE)
    node.wait_for(
        'transition 3 is refused: /perception is unconfigured, from which it can only configure '
        '(1), shutdown (5)'
    )
    assert state(peer) == State.PRIMARY_STATE_UNCONFIGURED
    assert change(peer, Transition.TRANSITION_CONFIGURE)
    assert change(peer, Transition.TRANSITION_ACTIVATE)
    for transition in Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE:
        assert not change(peer, transition)
    request = Transition(label='cleanup')
    assert not peer.call(ChangeState, '/perception/change_state', transition=request).success
    node.wait_for('transition cleanup is refused: /perception is active')
    assert state(peer) == State.PRIMARY_STATE_ACTIVE
    assert change(peer, Transition.TRANSITION_DEACTIVATE)


def test_another_model_is_run_without_a_restart_and_one_that_does_not_load_is_not(
    node, peer, camera, random_model, other, tmp_path
):
    told = peer.listen(Model, '/don_kp/model', LATCHED)
    matches = peer.listen(Matches, '/don_kp/matches', RESULT)
    colours = peer.listen(Image, '/don_kp/descriptor_image', RESULT)
    assert change(peer, Transition.TRANSITION_CONFIGURE)
    assert change(peer, Transition.TRANSITION_ACTIVATE)
    camera.wait_until_watched()
    broken = tmp_path / 'broken.safetensors'
    broken.write_bytes(other.read_bytes()[:1000])
    for path in (broken, tmp_path / 'none', ''):
        answer = peer.call(LoadModel, '/don_kp/load_model', path=str(path))
        assert not answer.success
        assert answer.message.startswith(f'model {random_model.fingerprint} goes on: ')
        assert answer.fingerprint == random_model.fingerprint
    peer.wait_until(lambda: camera.show_until_seen() and colours)
    answer = peer.call(LoadModel, '/don_kp/load_model', path=str(other))
    assert answer.success, answer.message
    assert answer.fingerprint != random_model.fingerprint
    peer.wait_until(lambda: told[-1].fingerprint == answer.fingerprint)
    assert told[-1].dimension == 6

    def described():
        stamp = camera.show_until_seen()
        return peer.call(Describe, '/perception/describe', stamp=stamp, u=[3.0], v=[4.0])

    seen = described()
    assert (seen.model, seen.dimension) == (answer.fingerprint, 6)
    peer.wait_until(lambda: matches[-1].model == answer.fingerprint)
    stamp = camera.show_until_seen()
    peer.wait_until(lambda: colours[-1].header.stamp == stamp)
