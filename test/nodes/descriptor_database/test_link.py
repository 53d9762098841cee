"""Which database a node takes, and what it says while that is not there."""

import pytest

from don_kp_ros.database.errors import StoreError, UnavailableError
from don_kp_ros.database.location import default_path
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.nodes.descriptor_database.link import DatabaseLink, chosen_database
from don_kp_ros.nodes.kit.runner import StartupError

URL = 'postgresql+psycopg://robot@host/don_kp'
WITH_PASSWORD = 'postgresql+psycopg://robot:secret@host/don_kp'
_ARGUMENTS = {'database': 'file', 'database_url': 'url'}
VALUES = [0.6, 0.8]


@pytest.mark.parametrize(
    ('file', 'url', 'environment', 'chosen'),
    [
        ('', '', '', ''),
        ('d.sqlite', '', '', 'd.sqlite'),
        ('', '', WITH_PASSWORD, WITH_PASSWORD),
        ('d.sqlite', '', WITH_PASSWORD, 'd.sqlite'),
        ('d.sqlite', URL, '', URL),
        ('d.sqlite', URL, WITH_PASSWORD, URL),
    ],
)
def test_a_url_goes_before_the_file_before_the_environment(
    monkeypatch, file, url, environment, chosen
):
    monkeypatch.setenv('DON_KP_DATABASE_URL', environment)
    assert chosen_database(file, url) == (chosen or str(default_path()))


@pytest.mark.parametrize('parameter', ['database', 'database_url'])
@pytest.mark.parametrize(
    'url',
    [
        WITH_PASSWORD,
        'postgresql://host/don_kp?password=secret',
        'postgresql://host/don_kp?sslpassword=secret',
        'postgresql://robot:top@secret@host/don_kp',
        'secret://x',
        '://secret',
    ],
)
def test_a_parameter_with_a_password_or_no_url_is_refused_without_telling_it(parameter, url):
    with pytest.raises(StartupError) as refusal:
        chosen_database(**{'file': '', 'url': '', _ARGUMENTS[parameter]: url})
    assert str(refusal.value).startswith((f'{parameter}: ', f'{parameter} holds '))
    if url.startswith('postgresql'):
        assert 'secret' not in str(refusal.value)
        assert 'DON_KP_DATABASE_URL' in str(refusal.value) or '%40' in str(refusal.value)


@pytest.mark.parametrize('file', ['{0}/robto/d.sqlite', 'sqlite:///{0}/robto/d.sqlite'])
@pytest.mark.parametrize('variable', [False, True])
def test_a_folder_that_does_not_exist_is_refused_unless_it_is_the_default_s(
    tmp_path, monkeypatch, file, variable
):
    given = file.format(tmp_path)
    if variable:
        monkeypatch.setenv('DON_KP_DATABASE_URL', given)
    name = 'DON_KP_DATABASE_URL' if variable else 'database'
    refused = rf'^{name}: there is no folder {tmp_path}/robto for .*d\.sqlite; mend the path, or'
    with pytest.raises(StartupError, match=refused):
        chosen_database('' if variable else given, '')
    assert not (tmp_path / 'robto').exists()
    (tmp_path / 'robto').mkdir()
    assert chosen_database('' if variable else given, '') == given
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path / 'data'))
    assert chosen_database(str(default_path()), '') == str(default_path())


def test_until_it_is_open_the_reason_is_told(tmp_path):
    link = DatabaseLink(str(tmp_path / 'file' / 'd.sqlite'), lambda: None)
    with pytest.raises(UnavailableError, match='not open yet'):
        _ = link.store
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(StoreError, match='cannot make'):
        link.open()
    with pytest.raises(UnavailableError, match='cannot make'):
        _ = link.store
    (tmp_path / 'file').unlink()
    assert link.open() is link.store
    link.close()


def test_contents_are_read_again_when_they_have_changed(tmp_path):
    link = DatabaseLink(str(tmp_path / 'd.sqlite'), lambda: None)
    link.open()
    try:
        assert len(link.contents('m')[0]) == 0
        with DescriptorStore(tmp_path / 'd.sqlite') as other:
            for number in range(6):
                other.put('a', f'm{number}', VALUES)
            first = link.contents('m0')
            assert link.contents('m0') is first
            for number in range(6):
                names, values = link.contents(f'm{number}')
                assert (list(names), values.shape) == (['a'], (1, 2))
            other.put('b', 'm0', VALUES)
            assert list(link.contents('m0')[0]) == ['a', 'b']
    finally:
        link.close()
