"""What a start leaves in the data directory, so that another process can find the broker, stop it, and tell whose data it is."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass, field
from pathlib import Path

from streamapp.broker.config import Listener
from streamapp.broker.errors import DiskFull, GuardRefused
from streamapp.broker.ports import HOST
from streamapp.broker.processes import Process

MARKER = "streamapp-broker"
OURS = frozenset(
    {
        MARKER,
        ".gitignore",
        "broker.pid",
        "formatted",
        "server.properties",
        "log4j2.xml",
        "start.lock",
        "kafka",
        "logs",
        "tls",
        "tmp",
    }
)
"""All that a broker ever puts into its data directory: reset deletes these, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningState:
    """The pid file: one broker process and where it listens."""

    process: Process
    port: int
    controller_port: int
    version: str
    profile: str
    extra: dict[Listener, int] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def write(self, path: Path) -> None:
        document = {
            "pid": self.process.pid,
            "started": self.process.identity,
            "port": self.port,
            "controller_port": self.controller_port,
            "version": self.version,
            "profile": self.profile,
            "listeners": self.extra,
        }
        write_whole(path, json.dumps(document, indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write the file so that a reader sees the old text or the new, never a part."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def read_state(data_dir: Path) -> RunningState | None:
    """Return the last started broker of this directory, alive or not; None: never started, stopped, or the file is torn."""
    try:
        document = json.loads((data_dir / "broker.pid").read_text(encoding="utf-8"))
        return RunningState(
            process=Process(int(document["pid"]), str(document["started"])),
            port=int(document["port"]),
            controller_port=int(document["controller_port"]),
            version=str(document["version"]),
            profile=str(document["profile"]),
            extra={Listener(name): int(port) for name, port in document["listeners"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_live_state(data_dir: Path) -> RunningState | None:
    """Return the broker of this directory if its process lives."""
    state = read_state(data_dir)
    return state if state is not None and state.process.is_alive() else None


def claim(data_dir: Path) -> None:
    """Make the directory a broker's. Raises GuardRefused: it holds something else, which a reset must never delete; DiskFull."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (data_dir / MARKER).exists():
            if any(data_dir.iterdir()):
                raise GuardRefused(f"{data_dir}: not empty and no broker's data; choose another --data-dir")
            (data_dir / MARKER).write_text("The data of a development broker; `streamapp broker reset --execute` deletes it.\n")
            (data_dir / ".gitignore").write_text("*\n")
    except OSError as cause:
        if cause.errno == errno.ENOSPC:
            raise DiskFull(f"{data_dir}: no space left on device; make room") from cause
        raise GuardRefused(f"{data_dir}: cannot keep the broker's data there: {cause.strerror or cause}") from cause


def require_ours(data_dir: Path) -> None:
    """Raise GuardRefused if the directory has something in it and is not a broker's."""
    if data_dir.exists() and not (data_dir / MARKER).exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise GuardRefused(f"{data_dir}: this is no broker's data, nothing was deleted")
