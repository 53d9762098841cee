"""What perception looks for: which object each stored descriptor is of."""

from array import array
from types import SimpleNamespace

import numpy as np

from don_kp.msg import Descriptor, Descriptors, TaughtObject
from don_kp_ros.nodes.perception import queries as module
from don_kp_ros.nodes.perception.queries import Queries
from don_kp_ros.pose.symmetry import form_of

MODEL = SimpleNamespace(fingerprint='abc', dimension=4)


def point(name: str, model: str = 'abc') -> Descriptor:
    return Descriptor(name=name, model=model, values=[1.0, 0.0, 0.0, 0.0])


def taught(name: str, model: str = 'abc', number: int = 3) -> TaughtObject:
    values = np.eye(4, dtype=np.float32)[np.arange(number) % 4]
    points = np.random.default_rng(0).normal(scale=0.1, size=(number, 3)).astype(np.float32)
    return TaughtObject(
        name=name,
        model=model,
        views=1,
        points=array('f', points.ravel()),
        values=array('f', values.ravel()),
        weights=array('f', np.ones(number)),
    )


def test_points_and_taught_objects_of_one_name_are_one_object() -> None:
    message = Descriptors(
        descriptors=[point('mug/rim'), point('cap/brim'), point('spot'), point('fan/a', 'other')],
        objects=[taught('cap', number=5), taught('box'), taught('cup', 'other')],
    )
    queries = Queries.from_message(message, MODEL)
    assert queries.stored == ('box', 'cap', 'mug', 'spot')
    assert queries.names == ('cap/brim', 'mug/rim', 'spot')
    assert [one.name for one in queries.objects] == ['box', 'cap']
    assert queries.owners.tolist() == [1, 2, 3, *[0] * 3, *[1] * 5]
    assert len(queries.owners) == len(queries.everything)
    assert queries.ignored == 2


def test_nothing_is_stored_at_first() -> None:
    queries = Queries.from_message(Descriptors(), MODEL)
    assert queries.stored == () and queries.owners.tolist() == []


def test_points_on_a_line_keep_nothing_from_being_looked_for() -> None:
    rod = taught('rod', number=12)
    rod.points = array('f', np.c_[np.linspace(0, 0.1, 12), np.zeros((12, 2))].ravel())
    queries = Queries.from_message(
        Descriptors(descriptors=[point('cap/brim')], objects=[rod]), MODEL
    )
    assert queries.stored == ('cap', 'rod')


def test_an_object_that_cannot_be_examined_is_told_and_the_others_are_looked_for(
    monkeypatch,
) -> None:
    def examined(constellation):
        if len(constellation.points) == 6:
            raise IndexError('no angle')
        return form_of(constellation)

    monkeypatch.setattr(module, 'form_of', examined)
    torn = taught('torn')
    del torn.weights[0]
    message = Descriptors(
        descriptors=[point('cap/brim')], objects=[taught('box'), torn, taught('rod', number=6)]
    )
    queries = Queries.from_message(message, MODEL)
    assert queries.stored == ('box', 'cap')
    assert queries.ignored == 0
    said = str(queries)
    assert "left out 2 objects: rod (IndexError('no angle')), torn (ValueError(" in said
    assert said.endswith('; teach them anew')
