"""All stores of a worker stay within one budget of memory and within the process's limit of open files, however many there are."""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamapp.state import budget as module
from streamapp.state.budget import RocksBudget, share_files, write_buffer_bytes
from streamapp.state.identity import Identity
from streamapp.state.rocksdb import RocksStores

MIB = 1024 * 1024
STORES = 64
BUDGET = 32 * MIB
BESIDE_THE_BUDGET = 24 * MIB
"""What 64 stores take besides: RocksDB's own lists and lookup tables (0.2 MiB each, measured), the allocator's slack, Python's bytes."""

PROGRAM = """
import json, os, sys
from pathlib import Path
import psutil
from streamapp.state.budget import RocksBudget
from streamapp.state.identity import Identity
from streamapp.state.rocksdb import RocksStores

folder, count, total, shared = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "shared"
process = psutil.Process()

def budget():
    made = RocksBudget(total)
    if shared:
        made.expect(count)
    return made

common = budget()
before, files = process.memory_info().rss, process.num_fds()
stores = [
    RocksStores(folder, common if shared else budget()).open(Identity(app_id="shop", table="totals", partition=number, changelog_id="1"))
    for number in range(count)
]
held = rss = 0
for turn in range(14):
    for store in stores:
        store.apply({b"%05d" % (turn * 500 + each): os.urandom(40) for each in range(500)}, turn)
    held, rss = max(held, common.usage().held), max(rss, process.memory_info().rss)
rows = sum(store.get(b"%05d" % row) is not None for store in stores for row in range(0, 7000, 100))
held, rss = max(held, common.usage().held), max(rss, process.memory_info().rss)
print(json.dumps({"rss": rss - before, "held": held, "files": process.num_fds() - files, "rows": rows}))
for store in stores:
    store.close()
"""


@dataclass(frozen=True)
class Used:
    rss: int
    held: int
    files: int
    rows: int


def used(folder: Path, how: str) -> Used:
    """Return what 64 stores with 7,000 rows each took of a process of their own."""
    command = [sys.executable, "-c", PROGRAM, str(folder), str(STORES), str(BUDGET), how]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    return Used(**json.loads(ran.stdout))


def test_64_stores_keep_to_one_budget_of_memory_and_to_their_share_of_open_files(tmp_path: Path) -> None:
    found = used(tmp_path, "shared")
    assert found.rows == STORES * 70
    assert found.held <= BUDGET
    assert found.rss <= BUDGET + BESIDE_THE_BUDGET
    assert found.files <= STORES * (module.FILES_OF_A_STORE + module.TABLES_AT_MOST)


def test_as_many_stores_with_a_budget_each_would_pass_that_bound(tmp_path: Path) -> None:
    found = used(tmp_path, "apart")
    assert found.rows == STORES * 70
    assert found.rss > BUDGET + BESIDE_THE_BUDGET


def test_usage_tells_write_buffers_from_what_is_cached(tmp_path: Path) -> None:
    budget = RocksBudget(BUDGET)
    store = RocksStores(tmp_path, budget).open(Identity(app_id="shop", table="totals", partition=0, changelog_id="1"))
    store.apply({b"%05d" % number: os.urandom(100) for number in range(5_000)}, 1)
    filled = budget.usage()
    assert filled.budget == BUDGET
    assert 500_000 < filled.write_buffers <= filled.pinned <= filled.held
    store._database.flush()
    list(store.items())
    read = budget.usage()
    assert read.write_buffers < filled.write_buffers
    assert read.held - read.write_buffers > 500_000
    store.close()


# --- open files


def open_tables(folder: Path) -> int:
    targets = [_target(link) for link in Path("/proc/self/fd").iterdir()]
    return sum(target.startswith(str(folder)) and target.endswith(".sst") for target in targets)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # the descriptor that listed them
        return ""


@pytest.mark.parametrize(("tables", "most"), [(10, 10), (54, 54)])
def test_a_store_opens_no_more_tables_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: int, most: int
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 16 * 1024)
    budget = RocksBudget(BUDGET)
    budget._tables = tables
    store = RocksStores(tmp_path, budget).open(Identity(app_id="shop", table="totals", partition=0, changelog_id="1"))
    for first in range(2):  # files that overlap, which are not just moved to the next level as they are
        store.apply({b"%05d" % number: os.urandom(100) for number in range(first, 8_000, 2)}, 1)
        store._database.flush()
    store._database.compact_range(None, None)
    assert 20 < len(store._database.live_files()) < 2 * module.TABLES_AT_MOST
    assert sum(store.get(b"%05d" % number) is not None for number in range(8_000)) == 8_000
    assert min(most, 20) <= open_tables(tmp_path) <= most
    store.close()


def test_the_share_of_a_store_shrinks_with_their_number_down_to_what_rocksdb_needs() -> None:
    assert share_files(8, 1_024).tables == module.TABLES_AT_MOST
    few = share_files(24, 1_024)
    assert module.TABLES_AT_LEAST < few.tables < module.TABLES_AT_MOST
    assert few.needed <= 1_024 < few.wanted
    many = share_files(192, 1_024)
    assert many.tables == module.TABLES_AT_LEAST
    assert many.needed > 1_024


class Limit:
    """The process's limit of open files, as the kernel would keep it."""

    def __init__(self, soft: int, hard: int, *, stubborn: bool = False) -> None:
        self.soft, self.hard, self._stubborn = soft, hard, stubborn

    def get(self, kind: int) -> tuple[int, int]:
        return self.soft, self.hard

    def set(self, kind: int, limits: tuple[int, int]) -> None:
        if self._stubborn:
            raise ValueError("current limit exceeds maximum limit")
        assert limits[0] <= self.hard
        self.soft = limits[0]


@pytest.fixture
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Limit:
    made: Limit = request.param
    monkeypatch.setattr(resource, "getrlimit", made.get)
    monkeypatch.setattr(resource, "setrlimit", made.set)
    return made


@pytest.mark.parametrize("limit", [Limit(1_024, 100_000), Limit(20_000, 100_000)], indirect=True)
def test_the_soft_limit_is_raised_to_what_all_stores_need_and_never_lowered(limit: Limit) -> None:
    before = limit.soft
    budget = RocksBudget(BUDGET)
    budget.expect(192)
    assert limit.soft == max(before, share_files(192, 1_024).wanted)
    assert budget._tables == module.TABLES_AT_MOST


@pytest.mark.parametrize("limit", [Limit(1_024, 1_024), Limit(1_024, 100_000, stubborn=True)], indirect=True)
def test_a_limit_that_cannot_be_raised_far_enough_is_named(limit: Limit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        RocksBudget(BUDGET).expect(24)
    assert caplog.messages == []
    RocksBudget(BUDGET).expect(192)
    [message] = caplog.messages
    assert "192 table partitions may need 3712 open files, and the limit is 1024: raise it" in message


# --- write buffers


def test_write_buffers_of_all_stores_fit_half_of_the_budget_twice_over() -> None:
    assert write_buffer_bytes(128 * MIB, 1) == module.WRITE_BUFFER_AT_MOST
    assert write_buffer_bytes(128 * MIB, 64) == 512 * 1024
    assert write_buffer_bytes(128 * MIB, 64) * 2 * 64 <= 64 * MIB
    assert write_buffer_bytes(128 * MIB, 10_000) == module.WRITE_BUFFER_AT_LEAST
