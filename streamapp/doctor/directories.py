"""The data directory as it lies on this machine, looked at without touching its lock."""

from __future__ import annotations

import os
from pathlib import Path

from streamapp.doctor.facts import Directory
from streamapp.identity import APP_ID_FILE, LOCK_FILE, WORKER_ID_FILE, DataDir
from streamapp.worker.restarts import read_restarts


def directory_at(path: Path, given_id: str | None, held: DataDir | None = None) -> Directory:
    """Return what is there. `held`: by this very process, which starts."""
    if not path.is_dir():
        return Directory(path, exists=False)
    holder = _number(_read(path / LOCK_FILE))
    kept = _read(path / WORKER_ID_FILE)
    return Directory(
        path,
        exists=True,
        app_id=_read(path / APP_ID_FILE),
        worker_id=held.worker_id if held is not None else given_id or kept,
        is_new=held is not None and held.is_new_worker,
        # Not by trying the lock: a worker that starts in that moment would be refused.
        locked_by=holder if holder is not None and holder != os.getpid() and _lives(holder) else None,
        table_bytes=_bytes_under(path / "tables"),
        restarts=read_restarts(path),
    )


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _bytes_under(path: Path) -> int | None:
    if not path.is_dir():
        return None
    whole = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                whole += (Path(folder) / name).stat().st_size
            except OSError:
                continue  # RocksDB deletes files while one looks
    return whole


__all__ = ["directory_at"]
