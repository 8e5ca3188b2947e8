"""`streamapp verify` as a user runs it, its JSON as a program reads it, and a store that does not tell the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamapp.clock import Deadline
from streamapp.kafka.admin import KafkaAdmin
from streamapp.state.budget import RocksBudget
from streamapp.state.identity import Identity
from streamapp.state.rocksdb import RocksStores
from tests.support.workers import ROOT

STREAMAPP: Final = (sys.executable, "-W", "error", "-c", "from streamapp.cli import main; main(prog_name='streamapp')")
FAUST: Final = (str(Path(sys.executable).with_name("faust")), "-A", "streamapp")


@dataclass(frozen=True, slots=True)
class Verified:
    """What one run said."""

    code: int
    stdout: str
    stderr: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    def rows(self, kind: str, **fields: object) -> list[dict[str, Any]]:
        """Return the objects of one kind that have these fields."""
        return [
            row for row in self.documents if row["kind"] == kind and all(row[name] == value for name, value in fields.items())
        ]

    @property
    def summary(self) -> dict[str, Any]:
        (found,) = self.rows("summary")
        return found

    def bad(self) -> list[dict[str, Any]]:
        return [row for row in self.documents if row.get("verdict") in ("finding", "unchecked")]


def verify(
    *options: str, bootstrap: str, app_id: str, door: tuple[str, ...] = STREAMAPP, cwd: Path = ROOT, **env: str
) -> Verified:
    """Run it on the order processor, or on the project of `cwd`, without any setting from outside."""
    return command("verify", *options, bootstrap=bootstrap, app_id=app_id, door=door, cwd=cwd, **env)


def command(
    *words: str, bootstrap: str, app_id: str, door: tuple[str, ...] = STREAMAPP, cwd: Path = ROOT, **env: str
) -> Verified:
    """Run a verb as `verify` runs its own."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_", "F_"))}
    done = subprocess.run(
        [*door, *words],
        cwd=cwd,
        env={**outside, "PYTHONPATH": str(ROOT), "STREAMAPP_BROKER": bootstrap, "STREAMAPP_APP_ID": app_id, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Verified(done.returncode, done.stdout, done.stderr)


def tamper(bootstrap: str, app_id: str, data_dir: Path, table: str, number: int) -> str:
    """Change one value, take one row and add one, at the same offset; returns the key whose value changed."""
    changelog = f"{app_id}-{table}-changelog"
    ids = KafkaAdmin({"bootstrap.servers": bootstrap}).topic_ids([changelog], Deadline.after(20))
    identity = Identity(app_id=app_id, table=table, partition=number, changelog_id=ids[changelog])
    store = RocksStores(data_dir, RocksBudget(16 * 1024 * 1024)).open(identity)
    (first, _), (second, _) = store.items(limit=2)
    store.apply({first: b"0", second: None, b'"~"': b"1"}, None)
    store.close()
    return first.decode()
