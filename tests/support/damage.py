"""What disks do to stores: bytes that are not what was written, files that are short, missing or another's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def store_of(data_dir: Path, table: str, number: int) -> Path:
    return data_dir / "tables" / table / str(number)


def sst_files(store: Path) -> list[Path]:
    """Return the files that hold a closed store's content, largest first."""
    found = sorted(store.glob("*.sst"), key=lambda path: -path.stat().st_size)
    assert found, f"{store} has no table file: {sorted(path.name for path in store.glob('*'))}"
    return found


def damage_blocks(store: Path) -> None:
    """Flip a byte in every 64 of the largest file's middle: an open reads none of it, a read cannot miss it."""
    [largest, *_] = sst_files(store)
    content = bytearray(largest.read_bytes())
    for at in range(len(content) // 3, len(content) * 2 // 3, 64):
        content[at] ^= 0xFF
    largest.write_bytes(content)


def truncate(store: Path) -> None:
    """Cut the largest file in half: its end, which an open reads, is gone."""
    [largest, *_] = sst_files(store)
    os.truncate(largest, largest.stat().st_size // 2)


def lose_current(store: Path) -> None:
    (store / "CURRENT").unlink()


def swap(one: Path, other: Path) -> None:
    """Have each store in the other's place."""
    aside = one.with_name(f"{one.name}-aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def delete(store: Path) -> None:
    shutil.rmtree(store)
