"""Which database a text means, and that no password leaves its URL."""

from pathlib import Path

import pytest

from don_kp_ros.database.errors import StoreError
from don_kp_ros.database.location import database_url, default_path, has_password, without_password
from don_kp_ros.database.opened import connect

SECRET = 'hunter2'
HOST = 'postgresql+psycopg://'


def test_the_default_file_lies_in_the_data_folder(monkeypatch):
    monkeypatch.setenv('XDG_DATA_HOME', '/data')
    assert default_path() == Path('/data/don_kp/descriptors.sqlite')
    assert without_password(None) == without_password('') == '/data/don_kp/descriptors.sqlite'
    monkeypatch.setenv('XDG_DATA_HOME', 'relative')
    monkeypatch.setenv('HOME', '/home/somebody')
    assert default_path() == Path('/home/somebody/.local/share/don_kp/descriptors.sqlite')


@pytest.mark.parametrize(
    ('given', 'shown'),
    [
        ('/a/b?c=d#e.sqlite', '/a/b?c=d#e.sqlite'),
        (Path('a.sqlite'), 'a.sqlite'),
        ('sqlite:////a/b.sqlite', '/a/b.sqlite'),
        (f'{HOST}robot@host/don', f'{HOST}robot@host/don'),
        (f'{HOST}robot:{SECRET}@host:5433/don', f'{HOST}robot@host:5433/don'),
        (f'{HOST}robot@host/don?password={SECRET}', f'{HOST}robot@host/don'),
        (f'{HOST}r@h/d?sslmode=verify-full&sslpassword={SECRET}', f'{HOST}r@h/d'),
        (f'postgresql://robot:{SECRET}@host/don', f'{HOST}robot@host/don'),
        (f'{HOST}/don?service=robots', f'{HOST}/don'),
    ],
)
def test_a_password_is_nowhere_but_in_its_place(given, shown):
    url = database_url(given)
    assert without_password(given) == shown
    assert has_password(given) == (f':{SECRET}@' in str(given) or 'password=' in str(given))
    assert SECRET not in str(url).replace(f'sslpassword={SECRET}', '')
    if has_password(given) and 'sslpassword' not in str(given):
        assert url.password == SECRET
        assert 'password' not in url.query


def test_what_else_an_url_says_is_kept():
    url = database_url(f'{HOST}robot@host/don?sslmode=verify-full&application_name=arm')
    assert dict(url.query) == {'sslmode': 'verify-full', 'application_name': 'arm'}


@pytest.mark.parametrize(
    ('given', 'reason'),
    [
        (f'mysql://robot:{SECRET}@host/don', "of kind 'mysql'"),
        (f'{HOST}robot:{SECRET}@host:port/don', 'cannot be read'),
        (f'://{SECRET}', 'cannot be read'),
        ('sqlite://', 'names no file'),
        ('sqlite:///:memory:', 'names no file'),
        ('sqlite:///a.sqlite?mode=ro', 'names no file'),
    ],
)
def test_any_other_url_is_refused(given, reason):
    with pytest.raises(StoreError, match=rf'{reason}.*give .*sqlite:///file') as raised:
        connect(given)
    assert SECRET not in f'{raised.value!r} {raised.value.__cause__!r}'
