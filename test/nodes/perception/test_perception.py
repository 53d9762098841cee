"""The perception node: what it publishes of what it sees, and what prevents that."""

import gc
import json
import signal

import cv2
import numpy as np
import pytest
import rclpy
import torch
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from don_kp.msg import DescriptorMap, Detections, Keypoints, Model
from don_kp.srv import LoadModel
from don_kp_ros.matching.pictures import FOUND
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.nodes.kit import conversions
from don_kp_ros.nodes.kit.qos import LATCHED, RESULT
from don_kp_ros.nodes.kit.runner import StartupError
from don_kp_ros.nodes.perception.node import Perception

UV = (84, 40)


def store(stage, **models: str) -> None:
    """Store, under names, what the model says of UV; as a descriptor of the given models."""
    stage.store(dict.fromkeys(models, stage.at([UV])[0]), **models)


def test_the_model_and_its_card_are_told(stage, peer):
    told = peer.listen(Model, '/don_kp/model', LATCHED)
    peer.wait_until(lambda: told)
    assert (told[0].fingerprint, told[0].dimension) == (stage.model.fingerprint, 8)
    assert json.loads(told[0].card) == stage.model.card


def test_matches_without_descriptors_are_empty(stage):
    message = stage.answer([])
    assert message.header.frame_id == stage.camera.FRAME
    assert message.model == stage.model.fingerprint


def test_a_stored_point_is_found_with_its_position(stage):
    store(stage, brim=stage.model.fingerprint, other='of another model')
    match = stage.answer(['brim'], lambda matches: matches[0].found).matches[0]
    assert match.reason == ''
    assert (match.u, match.v) == UV
    assert match.score > 0.99
    position = match.position
    expected = stage.camera.CAMERA.deproject(UV, 0.5)
    np.testing.assert_allclose([position.x, position.y, position.z], expected, atol=1e-6)


def test_a_point_without_depth_is_reported_with_the_reason(stage):
    store(stage, brim=stage.model.fingerprint)
    stage.answer(['brim'], lambda m: 'no pixel has a depth' in m[0].reason, depth_mm=0)
    # The frame before, or after, at 30 images a second.
    for late in (-0.033, 0.033):
        match = stage.answer(
            ['brim'], lambda m: m[0].reason.startswith('no depth image'), depth_late=late
        ).matches[0]
    assert not match.found
    assert np.isnan(match.position.z)
    assert (match.u, match.v) == UV


def test_maps_and_pictures_are_published(stage, peer):
    store(stage, brim=stage.model.fingerprint)
    topics = {
        '/don_kp/descriptor_map': DescriptorMap,
        '/don_kp/descriptor_image': Image,
        '/don_kp/heatmap': Image,
        '/don_kp/markers': MarkerArray,
    }
    heard = {name: peer.listen(kind, name, RESULT) for name, kind in topics.items()}

    def all_heard():
        matches = stage.answer(['brim'], lambda matches: matches[0].found).matches
        # Two for every place that was found, after the one that takes away those before.
        expected = 1 + 2 * sum(match.found for match in matches)
        markers = heard['/don_kp/markers']
        return all(heard.values()) and len(markers[-1].markers) == expected

    peer.wait_until(all_heard)
    message = heard['/don_kp/descriptor_map'][-1]
    expected = stage.model.describe(stage.camera.picture).numpy()
    assert message.model == stage.model.fingerprint
    assert (message.image_width, message.image_height) == (128, 96)
    np.testing.assert_allclose(conversions.map_from_message(message), expected, atol=1e-3)
    for name in '/don_kp/descriptor_image', '/don_kp/heatmap':
        assert conversions.rgb_image(heard[name][-1]).shape == (96, 128, 3)
        assert heard[name][-1].header.frame_id == stage.camera.FRAME
    marker = heard['/don_kp/markers'][-1].markers[1]
    assert marker.pose.position.z == pytest.approx(0.5)


def test_keypoints_are_told_with_their_kind_and_position(stage, peer):
    heard = peer.listen(Keypoints, '/don_kp/keypoints', RESULT)

    store(stage)

    def placed():
        stage.answer([])
        # Depth may come too late for a picture.
        whole = (m for m in list(heard) if np.isfinite([k.position.z for k in m.keypoints]).all())
        return next(whole, None)

    message = peer.wait_until(placed)
    expected = stage.model.look(stage.camera.picture).keypoints
    assert message.model == stage.model.fingerprint
    assert message.header.frame_id == stage.camera.FRAME
    assert [one.id for one in message.keypoints] == [0, 1, 2, 3]
    assert [one.kind for one in message.keypoints] == ['cap', 'cap', 'mug', 'mug']
    uv = [(one.u, one.v) for one in message.keypoints]
    np.testing.assert_allclose(uv, expected.uv.numpy(), atol=0.05)
    np.testing.assert_allclose(
        [one.score for one in message.keypoints], expected.mass.numpy(), atol=1e-3
    )
    for one in message.keypoints:
        ray = stage.camera.CAMERA.deproject(np.array([[one.u, one.v]]), np.array([0.5]))[0]
        told = [one.position.x, one.position.y, one.position.z]
        np.testing.assert_allclose(told, ray, atol=1e-3)


def test_how_sure_the_network_is_of_a_place_is_told_where_it_learned_it(
    stage, peer, checkpoint, tmp_path
):
    torch.manual_seed(0)
    settings = NetworkConfiguration(
        'resnet18', channels=8, dimension=8, inter=4, keypoints=None, confidence=True
    )
    network = DescriptorNetwork(settings)
    with torch.no_grad():
        network.uncertainty.weight.normal_(std=2)
    other = tmp_path / 'sure.safetensors'
    Checkpoint(settings, Preprocessing(96), network.state_dict(), 0.9).save(other)
    model = DescriptorModel.load(other)
    values = {'brim': stage.camera.described(model, [UV])[0]}
    detected = peer.listen(Detections, '/don_kp/detections', RESULT)
    try:
        assert peer.call(LoadModel, '/don_kp/load_model', path=str(other)).success
        stage.store(values, brim=model.fingerprint)
        (match, *_) = stage.answer(['brim'], lambda matches: matches[0].found).matches
        s = model.confidence(stage.camera.picture).numpy()
        enlarged = cv2.resize(s / (1 + s), stage.camera.SIZE[::-1])
        assert np.ptp(enlarged) > 0.1
        assert (match.u, match.v) == UV
        assert match.confidence == pytest.approx(enlarged[UV[1], UV[0]], abs=0.01)

        # It weighs cells, but a region is as similar as it is.
        def regions():
            stage.answer(['brim'])
            told = (m.detections for m in list(detected) if m.model == model.fingerprint)
            return next((some for some in told if some), None)

        assert peer.wait_until(regions)[0].confidence == pytest.approx(1, abs=0.02)
    finally:
        assert peer.call(LoadModel, '/don_kp/load_model', path=str(checkpoint)).success


def test_stored_points_tell_which_object_is_in_view(stage, peer):
    heard = peer.listen(Detections, '/don_kp/detections', RESULT)
    there = stage.at([UV])[0]
    values = {'cap/brim': there, 'cap/button': there, 'mug/rim': -there, 'box/edge': there}
    stage.store(values, **{'box/edge': 'another model'})
    matches = stage.answer(['cap/brim', 'cap/button', 'mug/rim']).matches
    # The network of this stage does not learn how sure it is.
    assert all(np.isnan(match.confidence) for match in matches)

    def told():
        stage.answer(['cap/brim', 'cap/button', 'mug/rim'])
        return next((m for m in list(heard) if list(m.missing) == ['mug']), None)

    message = peer.wait_until(told)
    assert message.model == stage.model.fingerprint
    found = message.detections[0]
    assert {one.name for one in message.detections} == {'cap'}
    assert [one.instance for one in message.detections] == list(range(len(message.detections)))
    assert found.confidence == pytest.approx(1, abs=0.02)
    u, v = UV[0] - found.box.x_offset, UV[1] - found.box.y_offset
    mask = conversions.image_array(found.mask)
    assert mask[v, u] == 255

    def outlined():
        stage.answer(['cap/brim', 'cap/button', 'mug/rim'])
        pictures = (conversions.rgb_image(one) for one in list(drawn))
        edge = slice(found.box.x_offset, found.box.x_offset + found.box.width)
        rows = (picture[found.box.y_offset, edge][mask[0] > 0] for picture in pictures)
        return any((row == FOUND).all(axis=1).mean() > 0.5 for row in rows)

    drawn = peer.listen(Image, '/don_kp/heatmap', RESULT)
    peer.wait_until(outlined)


def test_the_heatmap_names_the_points_that_fit_best(stage, peer):
    heard = peer.listen(Image, '/don_kp/heatmap', RESULT)
    store(stage)

    def legend(**models):
        """The rows of the picture's upper half that are as white as its writing."""
        store(stage, **models)
        # Of the image to which all of these, and nothing else, were looked for.
        found = stage.answer(sorted(models), lambda matches: all(m.found for m in matches))
        stamp = found.header.stamp
        (drawn,) = peer.wait_until(lambda: [one for one in heard if one.header.stamp == stamp])
        picture = conversions.rgb_image(drawn)
        return (picture[:48] == 255).all(axis=2).any(axis=1).sum()

    peer.wait_until(lambda: stage.answer([]) and heard)
    fingerprint = stage.model.fingerprint
    assert legend(brim=fingerprint, brim2=fingerprint) > legend(brim=fingerprint) > 0


def test_a_broken_image_does_not_silence_the_node(stage):
    for _ in range(5):
        stage.show(encoding='nonsense')
    store(stage, brim=stage.model.fingerprint)
    stage.answer(['brim'], lambda matches: matches[0].found)


def test_parameters_are_checked_and_take_effect(stage, peer):
    def set_parameter(name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        call = peer.call(SetParameters, '/perception/set_parameters', parameters=[parameter])
        return call.results[0]

    refused = set_parameter('match_threshold', 1.5)
    assert not refused.successful
    assert 'match_threshold is 1.5; at most 1' in refused.reason
    assert not set_parameter('device', 'cuda').successful
    assert not set_parameter('depth_window', 4).successful

    assert set_parameter('match_threshold', 1.0).successful
    stage.camera.picture = 255 - stage.camera.picture
    stage.answer(['brim'], lambda matches: 'below the threshold 1.000' in matches[0].reason)
    stage.camera.picture = 255 - stage.camera.picture
    assert set_parameter('match_threshold', -1.0).successful
    stage.answer(['brim'], lambda matches: matches[0].found)


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'model': 'none.safetensors'}, 'none.safetensors: no such file'),
        ({'device': 'gpu'}, 'device gpu cannot be used'),
        ({'modle': 'x'}, 'unknown key modle; allowed are'),
        ({'depth_window': 2}, 'depth_window is 2; odd numbers'),
        ({'max_rate_hz': 'fast'}, "max_rate_hz is 'fast'; float is expected"),
    ],
)
def test_what_prevents_a_start_is_named(ros_environment, checkpoint, parameters, message):
    arguments = ['test', '--ros-args']
    for name, value in {'model': checkpoint, **parameters}.items():
        arguments += ['-p', f'{name}:={value}']
    rclpy.init(args=arguments)
    try:
        with pytest.raises(StartupError, match=message):
            Perception()
    finally:
        rclpy.shutdown()
        gc.collect()  # else the half of a node that was made stays on the graph of later tests


def test_a_truncated_checkpoint_ends_the_process_with_one_line(start_node, checkpoint, tmp_path):
    truncated = tmp_path / 'truncated.safetensors'
    truncated.write_bytes(checkpoint.read_bytes()[:1000])
    node = start_node('perception', model=truncated)
    assert node.process.wait(60) == 1
    assert 'truncated, or not a safetensors file' in node.output
    assert node.output.count('\n') == 1, node.output


def test_a_signal_ends_the_node_quietly(start_node, checkpoint):
    node = start_node('perception', model=checkpoint, max_rate_hz=0)
    node.wait_for('waiting for images')
    assert node.end(signal.SIGINT) == 0
    assert 'Traceback' not in node.output
