"""A PostgreSQL server as the descriptor database of many robots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from sqlalchemy import exc

from don_kp_ros.database import schema
from don_kp_ros.database.engine import Database
from don_kp_ros.database.errors import SchemaError, StoreError, UnavailableError
from don_kp_ros.database.text import printable

CHANNEL = 'don_kp_descriptors'
_LOCK_TIMEOUT_S = 5.0
_MIGRATION = 0x646F6E5F6B70  # the key of the lock that one migration at a time holds
# A lost server is noticed within 2 s. This limits how long a connection takes, how long the
# network may leave sent data unanswered, and how long a server may be silent before a request.
_ANSWER_S = 1.5
_NETWORK = {
    'connect_timeout': 2,  # seconds, the least that libpq takes
    'tcp_user_timeout': 1500,  # milliseconds
    'keepalives_idle': 1,
    'keepalives_interval': 1,
    'keepalives_count': 1,
}
_STATEMENT_S = 60.0
_SESSION = {
    'timezone': 'UTC',
    'synchronous_commit': 'on',
    'lock_timeout': f'{_LOCK_TIMEOUT_S:g}s',
    'statement_timeout': f'{_STATEMENT_S:g}s',
    # A robot that is switched off within a transaction blocks the others for this long.
    'idle_in_transaction_session_timeout': '30s',
}


class _Connection(psycopg.Connection[Any]):
    """A connection that does not wait forever for a server that hangs on a live machine."""

    patience_s = _STATEMENT_S + 5  # the server's own limits come first
    hung = False

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server; raises OperationalError if it takes too long."""
        limit = self.patience_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError as error:
            if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.hung = True
                self.close()  # its answer may still come, and would be mistaken for another's
                raise psycopg.OperationalError(f'no answer within {limit:g} s') from error
            raise


class PostgresqlDatabase(Database):
    """A database on a server."""

    def prepare(self) -> None:
        """Create the tables if they are missing, and migrate them if they are older."""
        with self.transaction() as connection:
            encoding = connection.exec_driver_sql('SHOW server_encoding').scalar()
            if encoding != 'UTF8':
                raise SchemaError(
                    f'{self.location} has the encoding {encoding}, which cannot hold every name; '
                    'make one with `createdb --encoding=UTF8 --template=template0`'
                )
            if self._revision(connection) == schema.REVISION:
                return
        with self._failures_named(), self._engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION)))
            self._bring_up_to_date(connection)

    def changed(self, connection: sa.Connection) -> None:
        """Count a change, and notify listeners when it is committed."""
        super().changed(connection)
        connection.execute(sa.select(sa.func.pg_notify(CHANNEL, '')))

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], bool]]:
        """LISTEN on a connection of its own."""
        with self._failures_named(), self._engine.connect() as connection:
            connection = connection.execution_options(isolation_level='AUTOCOMMIT')
            driver = cast('psycopg.Connection[Any]', connection.connection.driver_connection)
            connection.detach()  # in the pool it would go on receiving notifications
            connection.exec_driver_sql(f'LISTEN {CHANNEL}')

            def hears(seconds: float) -> bool:
                try:
                    return bool(list(driver.notifies(timeout=seconds, stop_after=1)))
                except psycopg.Error as error:
                    raise UnavailableError(
                        f'{self.location} no longer tells of changes: {printable(str(error))}'
                    ) from error

            yield hears

    def _create_engine(self, url: sa.URL) -> sa.Engine:
        session = ' '.join(f'-c {name}={value}' for name, value in _SESSION.items())
        options = ' '.join(filter(None, (session, str(url.query.get('options', '')))))
        given = {name: url.query[name] for name in _NETWORK if name in url.query}
        engine = sa.create_engine(
            url.difference_update_query(['options', *_NETWORK]),
            connect_args={**_NETWORK, **given, 'options': options},
            isolation_level='READ COMMITTED',
            pool_timeout=_LOCK_TIMEOUT_S,
            hide_parameters=True,
        )

        def connect(_: object, __: object, arguments: list[Any], named: dict[str, Any]) -> object:
            return _Connection.connect(*arguments, **named)

        def ping(connection: _Connection, *_: object) -> None:
            connection.patience_s = _ANSWER_S
            try:
                engine.dialect.do_ping(connection)  # type: ignore[arg-type]
            except psycopg.Error as error:
                if connection.hung:  # so would the next one
                    raise exc.OperationalError('', None, error) from error
                raise exc.InvalidatePoolError from error
            connection.patience_s = _Connection.patience_s

        sa.event.listen(engine, 'do_connect', connect)
        sa.event.listen(engine, 'checkout', ping)
        return engine

    def _options(self, connection: sa.Connection, write: bool, snapshot: bool) -> sa.Connection:
        if not snapshot:
            return connection
        return connection.execution_options(
            isolation_level='REPEATABLE READ', postgresql_readonly=True
        )

    def _commit(self, connection: sa.Connection, write: bool) -> None:
        try:
            connection.commit()
        except exc.DBAPIError as error:
            if write and error.connection_invalidated:
                raise UnavailableError(
                    f'the descriptor database {self.location} was lost just as it was told to '
                    'store: whether it did is not known; look when it is back'
                ) from error
            raise

    def _named(self, error: exc.SQLAlchemyError) -> StoreError:
        cause = getattr(error, 'orig', None)
        reason = printable(str(cause or error))
        if self._engine.url.password:
            reason = reason.replace(str(self._engine.url.password), '***')
        state = getattr(cause, 'sqlstate', None) or ''
        place = f'the descriptor database {self.location}'
        if isinstance(error, exc.TimeoutError) or state == '55P03':
            return UnavailableError(
                f'{place} was busy for {_LOCK_TIMEOUT_S:g} s: others are writing; try again'
            )
        if state == '57014':
            return StoreError(
                f'{place} took more than {_STATEMENT_S:g} s: ask for less at once, or see what '
                'else the server does'
            )
        if state == '53300':
            return UnavailableError(
                f'{place} takes no more connections ({reason}); end other programs, or raise '
                "max_connections or the role's CONNECTION LIMIT"
            )
        if not state and (remedy := _of_tls(reason)):
            return StoreError(f'{place} cannot be reached safely ({reason}); {remedy}')
        refused = not state and any(words in reason for words in _REFUSALS)
        if refused or state.startswith('28') or state == '3D000':
            return StoreError(
                f'{place} refuses the connection ({reason}); check user, password (~/.pgpass) and '
                "database, and the server's pg_hba.conf"
            )
        if state == '53100':
            return StoreError(f'no space is left for {place}; free some, nothing was stored')
        lost = isinstance(error, exc.DBAPIError) and error.connection_invalidated
        unconnected = isinstance(error, exc.OperationalError) and not state
        if lost or unconnected or state[:2] in ('08', '53') or state.startswith('57P'):
            return UnavailableError(
                f'{place} does not answer ({reason}); check that the server runs and can be '
                'reached, then try again'
            )
        if state in ('42501', '25006'):
            return StoreError(
                f'{place} does not let this user do that ({reason}); give its role the rights, or '
                'run `don_kp db migrate` as the owner of the tables'
            )
        return StoreError(f'{place} failed: {reason}')


def _of_tls(reason: str) -> str:
    """Return the remedy where encryption is what failed, or nothing."""
    return next((remedy for words, remedy in _TLS.items() if words in reason), '')


# By the wording of servers and of libpq: a refused connection has no error code.
_REFUSALS = ('authentication failed', 'no password supplied', 'pg_hba.conf', 'does not exist')
_CLIENT = (
    "the server asks for a client's certificate: give sslcert, one that its ssl_ca_file signed, "
    'and sslkey, its key, which only its user may read (chmod 600)'
)
_TLS = {
    'invalid sslmode value': (
        'sslmode is one of disable, allow, prefer, require, verify-ca and verify-full'
    ),
    'server does not support SSL': (
        'the server does not encrypt: set ssl = on and a certificate in its postgresql.conf, or, '
        'in a network that you trust, sslmode=disable in the URL'
    ),
    'no encryption': (
        'the server takes encrypted connections only: give sslmode=verify-full in the URL'
    ),
    'does not match host name': (
        "give the host by a name that the server's certificate has, or have one made with this "
        'name (subjectAltName); sslmode=verify-ca does not look at names'
    ),
    'root certificate file': (
        'sslrootcert in the URL is to be a file in PEM that this user can read: the certificate '
        "of the authority that signed the server's; copy it from there"
    ),
    'certificate verify failed': (
        "the server's certificate has expired, or is not signed by what sslrootcert in the URL "
        "holds: give the certificate of the authority that signed the server's"
    ),
    'client certificate': _CLIENT,
    'private key file': _CLIENT,
    'certificate file': _CLIENT,
    ' alert ': (
        'the server refuses these certificates or versions of TLS; its log says which: see '
        'sslcert, sslkey and ssl_min_protocol_version in the URL'
    ),
}
