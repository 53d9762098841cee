"""A private, real PostgreSQL server in a temporary folder, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from don_kp_ros.database.location import POSTGRESQL

USER = 'don_kp'


def programs() -> Path | None:
    """Return the folder of PostgreSQL's newest programs, None where it is not installed."""
    installed = Path('/usr/lib/postgresql').glob('*/bin')  # where Debian puts them
    folders = [folder for folder in installed if (folder / 'initdb').exists()]
    if folders:
        return max(folders, key=lambda folder: float(folder.parent.name))
    found = shutil.which('initdb')
    return Path(found).resolve().parent if found else None


class PostgresqlServer:
    """A server on a free port of this machine, with a password; `close` removes all of it."""

    def __init__(self, *settings: str) -> None:
        """Make and start a server with settings as in postgresql.conf, such as 'fsync = off'.

        Raises RuntimeError where PostgreSQL is not installed.
        """
        found = programs()
        if found is None:
            raise RuntimeError('PostgreSQL is not installed; apt-get install postgresql')
        self._programs = found
        # Not under the tests' own folders: those only their user may enter.
        self.folder = Path(tempfile.mkdtemp(prefix='don_kp_postgresql_'))
        self.password = secrets.token_hex(8)
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            self.port = int(probe.getsockname()[1])
        self._account = _unprivileged()
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        secret = self.folder / 'password'
        secret.write_text(self.password)
        secret.chmod(0o644)
        try:
            self._run(
                'initdb', '--auth=scram-sha-256', f'--pwfile={secret}', f'--username={USER}',
                '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync', f'--pgdata={self._data}',
            )  # fmt: skip
            own = (
                "listen_addresses = '127.0.0.1'",
                f'port = {self.port}',
                f"unix_socket_directories = '{self.folder}'",
            )
            with (self._data / 'postgresql.conf').open('a') as file:
                file.write('\n'.join((*own, *settings, '')))
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PostgresqlServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _data(self) -> Path:
        return self.folder / 'data'

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._run('pg_ctl', 'start', '-w', f'--pgdata={self._data}', f'--log={self._data}/log')

    def stop(self, mode: str = 'fast') -> None:
        """Stop the server: `smart`, `fast` or, as if it crashed, `immediate`."""
        self._run('pg_ctl', 'stop', '-w', f'--mode={mode}', f'--pgdata={self._data}')

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let no process of the server go on, while their machine still takes what is sent."""
        first = int((self._data / 'postmaster.pid').read_text().split()[0])
        children = Path(f'/proc/{first}/task/{first}/children').read_text().split()
        processes = [first, *map(int, children)]
        try:
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and remove its folder."""
        pid = self._data / 'postmaster.pid'
        if pid.exists():
            self._run('pg_ctl', 'stop', '-w', '--mode=immediate', f'--pgdata={self._data}')
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """Make an empty database; return its URL."""
        name = f'test_{secrets.token_hex(6)}'
        engine = sa.create_engine(self.url('postgres'), isolation_level='AUTOCOMMIT')
        with engine.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE {name}')
        engine.dispose()
        return self.url(name)

    def url(self, database: str, user: str = USER, password: str | None = None) -> str:
        """Return the URL of a database, with the password."""
        url = sa.URL.create(
            POSTGRESQL, user, password or self.password, '127.0.0.1', self.port, database
        )
        return url.render_as_string(hide_password=False)

    def _run(self, program: str, *arguments: str) -> None:
        account = self._account
        as_account = {}
        if account is not None:
            as_account = {'user': account.pw_uid, 'group': account.pw_gid, 'extra_groups': ()}
        # Into a file: the server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile('w+') as said:
            done = subprocess.run(
                [self._programs / program, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
                **as_account,  # type: ignore[call-overload]
            )
            said.seek(0)
            if done.returncode:
                raise RuntimeError(f'{program} failed: {said.read()[-2000:]}')


def _unprivileged() -> pwd.struct_passwd | None:
    """Choose whom the server runs as: it refuses to run as root."""
    if os.getuid() != 0:
        return None
    names = {account.pw_name: account for account in pwd.getpwall()}
    return names.get('postgres') or names['nobody']
