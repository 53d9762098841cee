"""The database node teaches objects; a stand-in, which says that it is one, plays perception."""

import dataclasses

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from samples import grasp, mesh, taught, unit
from sensor_msgs.msg import Image

from don_kp.msg import Model
from don_kp.srv import (
    DeleteGrasp,
    DeleteMesh,
    DeleteObject,
    GetMesh,
    ListObjects,
    PlaceMesh,
    RenameObject,
    StoreGrasp,
    StoreMesh,
    Teach,
    TeachObject,
)
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.nodes.descriptor_database.messages import (
    grasp_message,
    mesh_message,
    object_message,
)
from don_kp_ros.nodes.kit.qos import LATCHED

RUNNING = 'the model that runs'


class StandIn:
    """Sees what a test tells it to see, of a model that it does not have."""

    def __init__(self, node) -> None:
        self.asked: list[Teach.Request] = []
        self.sees, self.refusal = taught(0, model=RUNNING), ''
        self.meanwhile = lambda: None
        self._models = node.create_publisher(Model, 'don_kp/model', LATCHED)
        self._models.publish(Model(fingerprint=RUNNING, dimension=8, card='{}'))
        node.create_service(Teach, 'perception/teach', self._teach)
        self.places = mesh(0)
        self.placed: list[PlaceMesh.Request] = []
        node.create_service(PlaceMesh, 'perception/place_mesh', self._place)
        node.get_logger().info('a stand-in for perception: it sees no images')

    def _teach(self, request: Teach.Request, response: Teach.Response) -> Teach.Response:
        self.asked.append(request)
        self.meanwhile()
        response.success, response.message = not self.refusal, self.refusal or 'seen by a stand-in'
        response.object = object_message(self.sees)
        response.pose.header.frame_id = 'camera'
        response.pose.pose.position.z = 0.5
        return response

    def _place(
        self, request: PlaceMesh.Request, response: PlaceMesh.Response
    ) -> PlaceMesh.Response:
        self.placed.append(request)
        self.meanwhile()
        response.success, response.message = not self.refusal, self.refusal or 'fits to 1 mm'
        response.data, response.residual = self.places.data, 0.001
        response.pose = mesh_message(self.places).pose
        return response


@pytest.fixture(scope='module')
def desk(open_desk, tmp_path_factory):
    return open_desk(database=tmp_path_factory.mktemp('objects') / 'd.sqlite')


def teach(desk, name='cap', **fields):
    return desk.peer.call(TeachObject, '/teach_object', name=name, **fields)


def listed(desk, **fields):
    answer = desk.peer.call(ListObjects, '/list_objects', **fields)
    assert answer.success, answer.message
    assert answer.message.startswith(f'{len(answer.objects)} objects')
    return answer


def delete(desk, name='cap', **fields):
    return desk.peer.call(DeleteObject, '/delete_object', name=name, **fields)


def rename(desk, name, new_name, success=True):
    answer = desk.peer.call(RenameObject, '/rename_object', name=name, new_name=new_name)
    assert answer.success == success, answer.message
    return answer


def told(desk, *objects) -> None:
    """Wait until the newest message on the latched topic has these objects."""
    wanted = [object_message(one) for one in objects]
    desk.peer.wait_until(lambda: desk.latched[-1].objects == wanted)


# The tests below run in this order: the first finds a node that has heard nothing yet.


def test_without_perception_nothing_can_be_taught(desk):
    refused = teach(desk)
    assert not refused.success
    assert 'no node serves /perception/teach; start perception' in refused.message
    assert 'no model is known to run yet' in delete(desk).message
    assert list(listed(desk).objects) == []


@pytest.fixture(scope='module')
def seen(desk, context, spun):
    """Let the stand-in play perception for the tests that follow."""
    node = rclpy.create_node('stand_in_for_perception', context=context)
    stand_in = StandIn(node)
    with spun(node):
        desk.peer.wait_until(lambda: 'is not taught' in delete(desk, 'unheard of').message)
        desk.peer.wait_until(lambda: teach(desk, 'first').success)
        assert delete(desk, 'first').success
        yield stand_in


@pytest.fixture
def perception(seen):
    seen.asked.clear()
    seen.placed.clear()
    seen.places = mesh(0)
    seen.sees, seen.refusal, seen.meanwhile = taught(0, model=RUNNING), '', lambda: None
    return seen


def test_an_object_is_taught_told_listed_and_deleted(desk, perception):
    mask = Image(height=1, width=2, step=2, encoding='mono8', data=[0, 255])
    answer = teach(desk, u=3, v=4, stamp=Time(sec=5), mask=mask)
    assert answer.success, answer.message
    assert "'cap' is taught for model the model th…: 4 points, from 1 view;" in answer.message
    assert answer.message.endswith('seen by a stand-in')
    assert answer.object == object_message(perception.sees)
    assert (answer.pose.header.frame_id, answer.pose.pose.position.z) == ('camera', 0.5)
    (asked,) = perception.asked
    assert (asked.u, asked.v, asked.stamp.sec, asked.mask) == (3, 4, 5, mask)
    assert asked.max_age == 1.0
    assert (asked.known.name, len(asked.known.points)) == ('cap', 0)
    told(desk, perception.sees)
    assert list(listed(desk, model=RUNNING).objects) == [answer.object]
    assert list(listed(desk, model='another').objects) == []
    rename(desk, 'cap', 'a <b>hat</b>')
    told(desk, dataclasses.replace(perception.sees, name='a <b>hat</b>'))
    assert 'already taught' in rename(desk, 'a <b>hat</b>', 'a <b>hat</b>', False).message
    rename(desk, 'a <b>hat</b>', 'cap')
    deleted = delete(desk)
    assert deleted.success
    assert 'for good' in deleted.message
    told(desk)
    assert list(listed(desk).objects) == []


def test_a_view_is_added_to_what_is_known_and_a_taught_name_is_refused(desk, perception):
    assert teach(desk, add=True).success
    perception.sees = taught(1, 6, model=RUNNING, views=2)
    refused = teach(desk)
    assert not refused.success
    assert 'already taught' in refused.message
    assert len(perception.asked) == 1  # no look is wasted
    assert 'choose one' in teach(desk, add=True, replace=True).message
    added = teach(desk, add=True)
    assert added.success, added.message
    assert perception.asked[-1].known == object_message(taught(0, model=RUNNING))
    told(desk, perception.sees)
    perception.sees = taught(2, model=RUNNING)
    assert teach(desk, replace=True).success
    assert len(perception.asked[-1].known.points) == 0
    told(desk, perception.sees)


@pytest.mark.parametrize(
    ('sees', 'reason'),
    [
        ({'model': 'the next one'}, 'perception now runs model the next one'),
        ({'points': np.full((4, 3), np.nan)}, 'point 0 of 4 has the place in metres [nan'),
        ({'values': np.stack([unit(0, 9)] * 4)}, '9 values were given; descriptors of model'),
        ({'weights': np.ones(3)}, 'for N points there are'),
        ({'views': 5000}, '5000 views; allowed are'),
    ],
)
def test_what_perception_must_not_see_is_refused(desk, perception, sees, reason):
    desk.peer.call(TeachObject, '/teach_object', name='cap', replace=True)
    before = listed(desk).objects
    if 'points' in sees or 'values' in sees or 'weights' in sees:
        sees = {name: values.astype(np.float32) for name, values in sees.items()}
    perception.sees = dataclasses.replace(perception.sees, **sees)
    refused = teach(desk, add=True)
    assert not refused.success
    assert reason in refused.message
    perception.sees, perception.refusal = taught(1, model=RUNNING), 'the residual is 41 mm; no'
    assert teach(desk, replace=True).message == perception.refusal
    assert listed(desk).objects == before


def test_what_another_teacher_stored_meanwhile_is_not_lost(desk, perception):
    assert teach(desk, replace=True).success
    faster = taught(7, 5, model=RUNNING, views=2)

    def teach_too() -> None:
        with DescriptorStore(desk.database) as other:
            other.objects.put(faster, replace=True)

    perception.meanwhile = teach_too
    refused = teach(desk, add=True)
    assert not refused.success
    assert 'changed by somebody else' in refused.message
    told(desk, faster)


def test_objects_of_other_models_and_damaged_ones_are_not_told(desk, perception):
    assert teach(desk, replace=True).success
    told(desk, perception.sees)
    with DescriptorStore(desk.database) as other:
        other.objects.put(taught(0, model='another'))
        other.objects.put(taught(1, name='damaged', model=RUNNING))
        told(desk, perception.sees, taught(1, name='damaged', model=RUNNING))
        desk.change("UPDATE taught_objects SET weights = x'00' WHERE name = 'damaged'")
        other.objects.put(taught(2, name='mug', model=RUNNING))
    told(desk, perception.sees, taught(2, name='mug', model=RUNNING))
    answer = listed(desk)
    assert [one.name for one in answer.objects] == ['cap', 'cap', 'mug']
    for said in answer.message, desk.node.output:
        assert "left out: the object 'damaged'" in said
        assert 'delete it with /delete_object' in said
    said = "not looked for: the object 'cap' was taught with model another, perception runs "
    assert desk.node.output.count(said) == 1
    assert delete(desk, 'damaged').success
    assert delete(desk, model='another').success
    assert "nearest names: 'cap'" in delete(desk, 'cop').message


def test_grasps_are_stored_told_kept_with_views_and_deleted(desk, perception):
    assert delete(desk, 'mug').success
    assert teach(desk, replace=True).success

    def store(name='', object='cap', **fields):
        message = grasp_message(dataclasses.replace(grasp(0), name=name))
        return desk.peer.call(StoreGrasp, '/store_grasp', object=object, grasp=message, **fields)

    first, second = store('brim'), store()
    assert first.success, first.message
    assert "grasp 'brim' of 'cap' is stored for model the model th…: the fingers hold 50" in (
        first.message
    )
    assert [first.grasp.name, second.grasp.name] == ['brim', '1']
    held = grasp(0, name='1'), grasp(0)
    told(desk, dataclasses.replace(perception.sees, grasps=held))
    assert 'has a grasp' in store('brim').message
    assert store('brim', replace=True).success
    assert "'mug' is not taught" in store('brim', 'mug').message
    perception.sees = taught(1, 6, model=RUNNING, views=2)
    assert teach(desk, add=True).object.grasps == [second.grasp, first.grasp]
    for name, success in (('1', True), ('1', False)):
        answer = desk.peer.call(DeleteGrasp, '/delete_grasp', object='cap', name=name)
        assert answer.success == success
    assert "no grasp '1' of 'cap' is taught; nearest names: 'brim'" in answer.message
    (one,) = listed(desk, name='cap', model=RUNNING).objects
    assert one.grasps == [first.grasp]
    assert list(listed(desk, name='hat').objects) == []
    assert teach(desk, replace=True).object.grasps == []


def store_mesh(desk, data=b'a file', **fields):
    fields = {'object': 'cap', 'format': 'ply', 'unit': 0.001, **fields}
    return desk.peer.call(StoreMesh, '/store_mesh', data=data, **fields)


def test_a_mesh_is_placed_stored_told_fetched_and_deleted(desk, perception):
    assert teach(desk, replace=True).success
    answer = store_mesh(desk, stamp=Time(sec=5))
    assert answer.success, answer.message
    assert "the mesh of 'cap' is stored for model the model th…, 0 kB: fits to 1 mm" in (
        answer.message
    )
    (asked,) = perception.placed
    assert (bytes(asked.data), asked.format, asked.unit) == (b'a file', 'ply', 0.001)
    assert (asked.known, asked.stamp.sec) == (object_message(perception.sees), 5)
    assert (answer.mesh, answer.residual) == (mesh_message(mesh(0)), 0.001)
    told(desk, dataclasses.replace(perception.sees, mesh=mesh(0)))  # without its bytes
    got = desk.peer.call(GetMesh, '/get_mesh', fingerprint=answer.mesh.fingerprint)
    assert bytes(got.data) == mesh(0).data
    assert 'has a mesh already' in store_mesh(desk).message
    assert len(perception.placed) == 1  # no look is wasted
    perception.places = mesh(1)
    assert store_mesh(desk, replace=True).success
    told(desk, dataclasses.replace(perception.sees, mesh=mesh(1)))
    gone = desk.peer.call(GetMesh, '/get_mesh', fingerprint=answer.mesh.fingerprint)
    assert 'is stored; /list_objects tells which are' in gone.message
    assert desk.peer.call(DeleteMesh, '/delete_mesh', object='cap').success
    told(desk, perception.sees)
    assert 'has no mesh' in desk.peer.call(DeleteMesh, '/delete_mesh', object='cap').message


def test_what_cannot_be_stored_as_a_mesh_is_refused(desk, perception):
    assert teach(desk, replace=True).success
    for data, told_ in ((b'', 'has 0 bytes'), (bytes((8 << 20) + 1), 'has 8388609 bytes')):
        assert f'{told_}; from 1 to 8388608 are taken' in store_mesh(desk, data).message
    assert "'mug' is not taught" in store_mesh(desk, object='mug').message
    assert perception.placed == []
    perception.refusal = 'the mesh of cap: is 170 m large'
    assert store_mesh(desk).message == perception.refusal
    perception.refusal = ''
    perception.places = dataclasses.replace(mesh(0), orientation=(0.0, 0.0, 0.0, 0.0))
    assert "quaternion's length 0.0" in store_mesh(desk).message
    perception.places = mesh(0)

    def teach_anew() -> None:
        with DescriptorStore(desk.database) as other:
            other.objects.put(taught(7, model=RUNNING), replace=True)

    perception.meanwhile = teach_anew
    assert 'changed by somebody else' in store_mesh(desk).message
    told(desk, taught(7, model=RUNNING))
