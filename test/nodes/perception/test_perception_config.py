"""The parameter files say what the nodes have, with the same defaults."""

import pytest

from don_kp_ros import configuration
from don_kp_ros.nodes.descriptor_database.node import DatabaseParameters
from don_kp_ros.nodes.perception.node import PerceptionParameters
from don_kp_ros.resources import config_path


@pytest.mark.parametrize(
    ('name', 'cls'),
    [('perception', PerceptionParameters), ('descriptor_database', DatabaseParameters)],
)
def test_parameter_files_hold_every_parameter_with_its_default(name, cls):
    path = config_path(f'{name}.yaml')
    parameters = configuration.load(path)['/**']['ros__parameters']
    assert list(parameters) == list(configuration.plain(cls()))
    assert configuration.read(cls, parameters, str(path)) == cls()
