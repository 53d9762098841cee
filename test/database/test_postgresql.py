"""What only a server can do: go away, come back, refuse, and hold others up."""

import logging
import os
import queue
import re
import shutil
import socket
import subprocess
import time
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from samples import MODEL, at_once, names, taught

from benchmarks.postgresql_server import PostgresqlServer
from don_kp_ros.database.changes import Watcher
from don_kp_ros.database.errors import SchemaError, StoreError, UnavailableError
from don_kp_ros.database.records import now
from don_kp_ros.database.store import DescriptorStore

ROLES = (
    "CREATE ROLE robot LOGIN PASSWORD 'robots'",
    "CREATE ROLE reader LOGIN PASSWORD 'readers'",
)


def documented_grants() -> list[str]:
    """Read the rights on tables in docs/database.md, for the roles above."""
    text = (Path(__file__).parents[2] / 'docs/database.md').read_text()
    lines = (line.strip().rstrip(';') for line in text.splitlines())
    return [
        line.replace('don_kp_writer', 'robot').replace('don_kp_reader', 'reader')
        for line in lines
        if line.startswith('GRANT') and 'DATABASE' not in line
    ]


def execute(url: str, *statements: str) -> None:
    """Do as somebody else would, with psql."""
    engine = sa.create_engine(url, isolation_level='AUTOCOMMIT')
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture(autouse=True)
def _patient():
    """Be no more patient than for users: here servers are stopped."""


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    return postgresql.database()


@pytest.fixture(scope='module')
def server(_postgresql_installed):
    """Start a server that may be stopped."""
    with PostgresqlServer('fsync = off') as started:
        yield started


@pytest.mark.parametrize('mode', ['fast', 'immediate'])
def test_a_server_that_is_stopped_is_told_at_once_and_used_again_when_it_is_back(server, mode):
    url = server.database()
    told = queue.Queue()
    with DescriptorStore(url) as store, DescriptorStore(url) as other:
        watcher = Watcher(store, lambda: told.put(store.count()))
        store.put('before', 'm', [1.0])
        assert told.get(timeout=30) == 1
        server.stop(mode)
        for call in (
            store.list,
            store.revision,
            lambda: store.put('during', 'm', [1.0]),
            lambda: DescriptorStore(url),
        ):
            begun = time.monotonic()
            with pytest.raises(UnavailableError, match=r'does not answer .*server runs.*again'):
                call()
            assert time.monotonic() - begun < 2
        server.start()
        assert names(store) == ['before']
        other.put('after', 'm', [1.0])
        assert told.get(timeout=30) == 2
        watcher.stop()


def test_a_server_that_hangs_is_told_and_used_again_when_it_goes_on(server):
    with DescriptorStore(server.database()) as store:
        store.put('before', 'm', [1.0])
        with server.frozen():
            begun = time.monotonic()
            with pytest.raises(UnavailableError, match=r'does not answer \(no answer .*try again'):
                store.put('during', 'm', [1.0])
            assert time.monotonic() - begun < 10  # without a limit it would wait for ever
        store.put('after', 'm', [1.0])
        assert names(store) == ['after', 'before']
        # That it restarts between two requests is not noticed.
        server.stop()
        server.start()
        store.put('then', 'm', [1.0])
        assert store.count() == 3


def test_a_server_that_hangs_within_a_transaction_is_told_and_nothing_is_stored(server):
    with DescriptorStore(server.database()) as store:

        def put_two():
            with store.transaction():
                store.put('first', 'm', [1.0])
                with store._database.transaction() as connection:  # the same one
                    connection.connection.driver_connection.patience_s = 1.0
                with server.frozen():
                    store.put('second', 'm', [1.0])

        with pytest.raises(UnavailableError, match='no answer within 1 s'):
            put_two()
        assert store.list() == []


def test_a_connection_that_ends_within_a_transaction_undoes_it(url):
    with DescriptorStore(url) as store:
        store.put('before', 'm', [1.0])

        def interrupted() -> None:
            with store.transaction():
                store.put('during', 'm', [1.0])
                with store._database.transaction() as connection:
                    number = connection.exec_driver_sql('SELECT pg_backend_pid()').scalar()
                execute(url, f'SELECT pg_terminate_backend({number}, 5000)')

        with pytest.raises(UnavailableError, match='whether it did is not known'):
            interrupted()
        assert names(store) == ['before']


def test_a_server_that_accepts_and_says_nothing_is_told(postgresql):
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(UnavailableError, match=r'does not answer .*timeout'):
            DescriptorStore(f'postgresql+psycopg://robot@127.0.0.1:{port}/don')


def test_who_is_held_up_by_others_is_told(url):
    with (
        DescriptorStore(url) as store,
        DescriptorStore(f'{url}?options=-c lock_timeout=100ms') as hasty,
    ):
        with store.transaction():
            store.put('slow', 'm', [1.0])
            failures = []

            def put() -> None:
                try:
                    hasty.put('hasty', 'm', [1.0])
                except UnavailableError as error:
                    failures.append(str(error))

            at_once(put)
        assert 'others are writing; try again' in failures[0]
        hasty.put('hasty', 'm', [1.0])
        assert store.count() == 2


def test_a_session_is_set_up_to_lose_nothing_and_to_hold_up_nobody(url):
    with DescriptorStore(url) as store, store._database.transaction() as connection:
        for name, value in (
            ('synchronous_commit', 'on'),
            ('transaction_isolation', 'read committed'),
            ('lock_timeout', '5s'),
            ('idle_in_transaction_session_timeout', '30s'),
        ):
            assert connection.exec_driver_sql(f'SHOW {name}').scalar() == value


def test_names_compare_by_code_point_in_every_locale(url):
    query = """
        SELECT table_name || '.' || column_name, collation_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'character varying'
        AND table_name <> 'alembic_version'
    """
    with DescriptorStore(url) as store, store._database.transaction() as connection:
        found = dict(connection.exec_driver_sql(query).all())
    assert set(found.values()) == {'C'}
    assert {'descriptors.name', 'models.fingerprint', 'objects.name', 'tags.tag'} <= set(found)


def test_roles_may_do_what_they_are_granted(postgresql, url):
    name = sa.make_url(url).database
    robot = postgresql.url(name, 'robot', 'robots')
    reader = postgresql.url(name, 'reader', 'readers')
    execute(url, *ROLES)
    with pytest.raises(StoreError, match=r'does not let.*don_kp db migrate'):
        DescriptorStore(robot)
    with DescriptorStore(url) as owner:
        execute(url, *documented_grants())
        owner.put('by owner', 'm', [1.0])
    with DescriptorStore(robot) as store:
        store.put('by robot', 'm', [1.0], tags=['t'])
        store.delete('by owner', 'm')
        store.restore('by owner', 'm')
        store.delete('by robot', 'm')
        assert store.prune(now()) == 1
        store.objects.put(taught(0))
        store.objects.put(taught(1), replace=True)
        store.objects.delete('cap', MODEL)
        store.put('by robot', 'm', [1.0])
    with DescriptorStore(reader) as store:
        assert names(store) == ['by owner', 'by robot']
        assert store.objects.list() == ([], [])
        with pytest.raises(StoreError, match=r'does not let this user do that .*rights'):
            store.put('by reader', 'm', [1.0])
        assert store.count() == 2
        told = queue.Queue()
        watcher = Watcher(store, lambda: told.put(1))
        with DescriptorStore(robot) as other:
            other.put('also by robot', 'm', [1.0])
        told.get(timeout=30)
        watcher.stop()


def test_what_is_no_database_of_descriptors_is_left_alone(postgresql, url):
    execute(url, 'CREATE TABLE diary (day TEXT)')
    with pytest.raises(SchemaError, match=r"not one of descriptors.*'diary'"):
        DescriptorStore(url)
    latin = f'{sa.make_url(url).database}_latin'
    kind = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    execute(url, f'CREATE DATABASE {latin} {kind}')
    with pytest.raises(SchemaError, match=r'encoding LATIN1.*createdb --encoding=UTF8'):
        DescriptorStore(postgresql.url(latin))
    with pytest.raises(StoreError, match=r'refuses the connection .*"nowhere" does not exist'):
        DescriptorStore(postgresql.url('nowhere'))
    newer = postgresql.database()
    DescriptorStore(newer).close()
    execute(newer, "UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(SchemaError, match=r"has the schema '0099'.*update don_kp"):
        DescriptorStore(newer)


@pytest.fixture(scope='module')
def certificates(tmp_path_factory):
    """Make authorities, and a certificate of one for the host that is called database."""
    folder = tmp_path_factory.mktemp('certificates')
    key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes')

    def openssl(*arguments: str) -> None:
        subprocess.run(['openssl', *arguments], cwd=folder, check=True, capture_output=True)

    for name in 'ours', 'theirs':
        openssl(
            'req', '-x509', *key, '-subj', f'/CN={name}', '-keyout', f'{name}.key',
            '-out', f'{name}.crt',
        )  # fmt: skip
    openssl('req', *key, '-subj', '/CN=database', '-keyout', 'server.key', '-out', 'server.csr')
    (folder / 'names').write_text('subjectAltName=DNS:database,DNS:localhost')
    openssl(
        'x509', '-req', '-in', 'server.csr', '-CA', 'ours.crt', '-CAkey', 'ours.key',
        '-CAcreateserial', '-extfile', 'names', '-out', 'server.crt',
    )  # fmt: skip
    (folder / 'no.crt').write_text('-----BEGIN CERTIFICATE-----')
    return folder


def reloaded(server: PostgresqlServer, access: str, **settings: str) -> None:
    """Have a server take settings, and a line of pg_hba.conf."""
    url = server.url('postgres')
    (server.folder / 'data/pg_hba.conf').write_text(f'{access}\n')
    changes = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()]
    execute(url, *changes, 'SELECT pg_reload_conf()')


ANY = 'host all all 127.0.0.1/32 scram-sha-256'


def refusal_of(url: str) -> str:
    with pytest.raises(StoreError) as refused:
        DescriptorStore(url)
    assert not isinstance(refused.value, UnavailableError)  # to try again would be of no use
    assert 'check user, password' not in str(refused.value)
    return str(refused.value)


def test_a_server_that_does_not_encrypt_is_told(url):
    for mode in 'require', 'verify-full':
        refused = refusal_of(f'{url}?sslmode={mode}')
        assert 'does not support SSL' in refused and 'set ssl = on' in refused
    assert 'sslmode is one of disable, allow,' in refusal_of(f'{url}?sslmode=verify_full')
    DescriptorStore(f'{url}?sslmode=prefer').close()


@pytest.fixture(scope='module')
def encrypting(server, certificates):
    """Have a server encrypt; give the URL of a database."""
    url, owner = server.database(), server.folder.stat()
    for name in 'server.crt', 'server.key', 'ours.crt':
        copy = shutil.copy(certificates / name, server.folder / name)
        os.chown(copy, owner.st_uid, owner.st_gid)
        os.chmod(copy, 0o600)
    files = {'ssl_cert_file': 'server.crt', 'ssl_key_file': 'server.key'}
    files['ssl_ca_file'] = 'ours.crt'
    paths = {name: str(server.folder / file) for name, file in files.items()}
    reloaded(server, ANY, **paths, ssl='on')
    told = f'{url}?sslmode=verify-full&sslrootcert={certificates}/'

    def encrypted() -> bool:
        try:
            DescriptorStore(f'{url}?sslmode=require').close()
        except StoreError:
            return False
        return True

    until(encrypted)
    yield url, told
    reloaded(server, ANY, ssl='off')


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ('host', 'root', 'reason', 'remedy'),
    [
        ('127.0.0.1', 'ours.crt', 'for "database".* does not match host name', 'by a name that'),
        ('localhost', 'theirs.crt', 'certificate verify failed', 'authority that signed the'),
        (
            'localhost',
            'nowhere.crt',
            'nowhere.crt" does not exist',
            'sslrootcert in the URL is',
        ),
        ('localhost', 'no.crt', 'could not read root certificate', 'sslrootcert in the URL is'),
    ],
)
def test_a_certificate_that_does_not_fit_is_told_with_the_remedy(
    encrypting, host, root, reason, remedy
):
    _, told = encrypting
    refused = refusal_of(told.replace('127.0.0.1', host) + root)
    assert re.search(f'{reason}.*; .*{remedy}', refused), refused
    DescriptorStore(told.replace('127.0.0.1', 'localhost') + 'ours.crt').close()


def test_what_a_server_asks_of_its_clients_is_told(server, certificates, encrypting):
    url, _ = encrypting
    try:
        reloaded(server, 'hostssl all all 127.0.0.1/32 cert')
        until(lambda: 'give sslcert' in refusal_of(f'{url}?sslmode=require'))
        files = f'sslcert={certificates}/theirs.crt&sslkey={certificates}'
        assert 'chmod 600' in refusal_of(f'{url}?sslmode=require&{files}/none.key')
        refused = refusal_of(f'{url}?sslmode=require&{files}/theirs.key')
        assert 'unknown ca' in refused and 'its log says which' in refused
        assert 'give sslmode=verify-full' in refusal_of(f'{url}?sslmode=disable')
    finally:
        (server.folder / 'data/pg_hba.conf').write_text(f'{ANY}\n')
        server.stop()
        server.start()


def test_the_password_is_in_no_message_and_no_log(postgresql, url, caplog):
    caplog.set_level(logging.DEBUG)
    said = []

    def attempt(call, reason) -> None:
        with pytest.raises(StoreError, match=reason) as raised:
            call()
        said.extend(traceback.format_exception(raised.value))

    with DescriptorStore(url) as store:
        assert postgresql.password not in store.location
        said += [repr(store), repr(vars(store)), repr(vars(store._database))]
        store.put('a', 'm', [1.0])
        execute(url, 'ALTER TABLE tags RENAME TO renamed')
        attempt(store.list, r'failed: relation "tags" does not exist')
    attempt(lambda: DescriptorStore(url), "lacks the table 'tags'")
    attempt(lambda: DescriptorStore(postgresql.url('nowhere')), 'refuses the connection')
    wrong = postgresql.url('postgres', password='hunter2')
    attempt(lambda: DescriptorStore(wrong), 'password authentication failed')
    elsewhere = wrong.replace(str(postgresql.port), '1')
    attempt(lambda: DescriptorStore(elsewhere), 'does not answer')
    text = ''.join(said) + caplog.text
    assert 'hunter2' not in text
    assert text.count('127.0.0.1') > 3
    assert postgresql.password not in text
