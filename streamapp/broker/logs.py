"""The broker's log file: its last lines, and lines as they come."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

POLL = 0.2
"""Seconds between two looks at a followed file; nothing portable wakes us when a file grows."""

TAIL_BYTES = 4 * 1024 * 1024
"""Of each file, no more than this is read for its last lines."""


def last_lines(path: Path, count: int, *, since: int = 0) -> list[str]:
    """Return up to `count` last lines, of those after the first `since` bytes; none if there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES, since if since <= size else 0))
            return [line.decode(errors="replace").rstrip("\n") for line in deque(file, maxlen=count)]
    except FileNotFoundError:
        return []


def follow(path: Path, *, until: Callable[[], bool]) -> Iterator[str]:
    """Yield the lines that are added from now on, through rotations, until `until()` is true and all is read."""
    position = path.stat().st_size if path.exists() else 0
    inode = path.stat().st_ino if path.exists() else None
    rest = b""
    while True:
        last_look = until()
        try:
            with path.open("rb") as file:
                now = os.fstat(file.fileno())
                if now.st_ino != inode or now.st_size < position:  # rotated
                    inode, position, rest = now.st_ino, 0, b""
                file.seek(position)
                rest += file.read(TAIL_BYTES)
                position = file.tell()
        except FileNotFoundError:
            pass
        *lines, rest = rest.split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
        if last_look:
            return
        if not lines:
            time.sleep(POLL)
