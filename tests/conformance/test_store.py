"""What every Store means by its port, on memory and on RocksDB."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from streamapp.errors import TableNotHere
from streamapp.ports import Store
from streamapp.state.budget import RocksBudget
from streamapp.state.identity import Identity
from streamapp.state.memory import MemoryStores
from streamapp.state.rocksdb import RocksStores
from streamapp.state.stores import StoreKind

IDENTITY = Identity(app_id="shop", table="totals", partition=3, changelog_id="id-1")
NOON = 1_700_000_000.0


class StoppedClock:
    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return NOON


@pytest.fixture(scope="module")
def budget() -> RocksBudget:
    return RocksBudget(16 * 1024 * 1024)


@pytest.fixture(params=["memory", "rocksdb"])
def kind(request: pytest.FixtureRequest, tmp_path: Path, budget: RocksBudget) -> StoreKind:
    return (
        MemoryStores(clock=StoppedClock()) if request.param == "memory" else RocksStores(tmp_path, budget, clock=StoppedClock())
    )


@pytest.fixture
def store(kind: StoreKind) -> Iterator[Store]:
    opened = kind.open(IDENTITY)
    yield opened
    opened.close()


def test_a_new_store_is_empty_and_current_to_nothing(store: Store) -> None:
    assert store.get(b"ann") is None
    assert list(store.items()) == []
    assert (store.changelog_offset, store.current_at, store.usable) == (None, None, True)


def test_an_apply_writes_deletes_and_moves_the_offset(store: Store) -> None:
    store.apply({b"ann": b"1", b"bob": b"2"}, 10)
    store.apply({b"ann": None, b"cid": b"3", b"never there": None}, 12)
    assert list(store.items()) == [(b"bob", b"2"), (b"cid", b"3")]
    assert (store.get(b"ann"), store.get(b"cid")) == (None, b"3")
    assert (store.changelog_offset, store.current_at) == (12, NOON)


def test_an_apply_without_an_offset_keeps_the_stored_one(store: Store) -> None:
    store.apply({b"ann": b"1"}, None)
    before = store.changelog_offset
    store.apply({}, 7)
    store.apply({b"bob": b"2"}, None)
    assert (before, store.changelog_offset, store.get(b"bob")) == (None, 7, b"2")


def test_a_restore_says_how_old_its_writes_are(store: Store) -> None:
    store.apply({b"ann": b"1"}, 3, current_at=NOON - 60)
    assert store.current_at == NOON - 60


def test_a_lower_offset_is_taken_too(store: Store) -> None:
    store.apply({}, 9)
    store.apply({}, 4)
    assert store.changelog_offset == 4


@pytest.mark.parametrize("key", [b"", b"\x00", b"\x00identity", b"\x00position", b"\x01", b"\xff" * 300, "zoë".encode()])
def test_any_bytes_are_a_key_and_meet_no_metadata(store: Store, key: bytes) -> None:
    store.apply({key: b"mine"}, 5)
    assert store.get(key) == b"mine"
    assert list(store.items()) == [(key, b"mine")]
    store.apply({key: None}, 6)
    assert (store.get(key), list(store.items()), store.changelog_offset) == (None, [], 6)


def test_an_empty_value_is_a_value(store: Store) -> None:
    store.apply({b"ann": b""}, 1)
    assert store.get(b"ann") == b""


def test_items_come_in_key_order_from_the_start_and_up_to_the_limit(store: Store) -> None:
    keys = [b"%05d" % number for number in range(2_500)]
    store.apply({key: b"v" + key for key in reversed(keys)}, 2_500)
    assert [key for key, _ in store.items()] == keys
    assert [key for key, _ in store.items(b"01000")] == keys[1_000:]
    assert [key for key, _ in store.items(b"00999x", 1_001)] == keys[1_000:2_001]
    assert list(store.items(limit=0)) == []


def test_an_iteration_stands_an_apply_in_between(store: Store) -> None:
    store.apply({b"%05d" % number: b"1" for number in range(2_000)}, 1)
    seen = []
    for item in store.items():
        seen.append(item[0])
        if len(seen) == 500:
            store.apply({b"00000x": b"behind", b"00001": None}, 2)
    assert len(seen) >= 1_999
    assert seen == sorted(set(seen))


def test_a_wiped_store_is_as_new_and_open(store: Store) -> None:
    store.apply({b"ann": b"1"}, 10)
    store.wipe()
    assert (store.get(b"ann"), list(store.items()), store.changelog_offset, store.current_at) == (None, [], None, None)
    store.apply({b"bob": b"2"}, 1)
    assert store.get(b"bob") == b"2"


def test_it_tells_about_how_much_it_holds_and_nothing_once_it_is_closed(store: Store) -> None:
    empty = store.estimate()
    assert empty is not None
    store.apply({b"%04d" % at: b"x" * 100 for at in range(1000)}, 1000)
    store.apply({b"%04d" % at: b"y" * 100 for at in range(1000)}, 2000)
    store.apply({b"0000": None}, 2001)
    full = store.estimate()
    assert full is not None
    assert 900 <= full[0] <= 2100, "RocksDB counts what is overwritten until it is compacted"
    assert full[1] - empty[1] >= 100_000
    store.close()
    assert store.estimate() is None


def test_what_is_frozen_stays_as_it_was_while_the_store_goes_on(store: Store) -> None:
    store.apply({b"ann": b"1", b"bob": b"2"}, 7)
    with store.frozen() as frozen:
        store.apply({b"ann": b"9", b"bob": None, b"cid": b"3"}, 8)
        assert (frozen.changelog_offset, list(frozen.items())) == (7, [(b"ann", b"1"), (b"bob", b"2")])
    with store.frozen() as frozen:
        assert (frozen.changelog_offset, list(frozen.items())) == (8, [(b"ann", b"9"), (b"cid", b"3")])


def test_a_store_of_many_pages_is_frozen_whole(store: Store) -> None:
    rows = {b"%05d" % number: b"v" for number in range(2_500)}
    store.apply(rows, 7)
    with store.frozen() as frozen:
        assert dict(frozen.items()) == rows


def test_a_store_that_is_closed_ends_the_reading_of_what_was_frozen_and_opens_again(kind: StoreKind) -> None:
    store = kind.open(IDENTITY)
    store.apply({b"%05d" % number: b"v" for number in range(2_500)}, 7)
    with store.frozen() as frozen:
        rows = frozen.items()
        next(rows)
        store.close()
        with pytest.raises(TableNotHere):
            list(rows)
        kind.open(IDENTITY).close()
    with pytest.raises(TableNotHere), store.frozen():
        pass


def test_a_closed_store_refuses_and_closes_twice(store: Store) -> None:
    store.apply({b"ann": b"1"}, 10)
    store.close()
    store.close()
    assert not store.usable
    calls: list[Callable[[], object]] = [
        lambda: store.get(b"ann"),
        lambda: list(store.items()),
        lambda: store.apply({}, 11),
        store.wipe,
    ]
    for call in calls:
        with pytest.raises(TableNotHere):
            call()


def test_a_store_closed_under_readers_gives_values_or_says_that_it_is_closed(store: Store) -> None:
    store.apply({b"%05d" % number: b"1" for number in range(3_000)}, 1)
    odd: list[BaseException] = []
    begun = threading.Barrier(4)

    def read(call: Callable[[], object]) -> None:
        begun.wait()
        try:
            while True:
                call()
        except TableNotHere:
            pass
        except BaseException as other:
            odd.append(other)

    readers = [threading.Thread(target=read, args=[call]) for call in (lambda: store.get(b"00001"), lambda: list(store.items()))]
    readers += [threading.Thread(target=read, args=[lambda: store.apply({b"x": b"y"}, 2)])]
    for reader in readers:
        reader.start()
    begun.wait()
    store.close()
    for reader in readers:
        reader.join(10)
        assert not reader.is_alive()
    assert odd == []


def test_a_wipe_under_readers_gives_values_or_says_that_it_is_closed(store: Store) -> None:
    odd: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                assert store.get(b"ann") in (None, b"1")
            except TableNotHere:
                pass
            except BaseException as other:
                odd.append(other)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(5):
        store.apply({b"ann": b"1"}, 1)
        store.wipe()
    over.set()
    for reader in readers:
        reader.join(10)
    assert odd == []


KEYS = strategies.one_of(
    strategies.binary(max_size=3), strategies.sampled_from([b"", b"\x00identity", b"\x00position", b"\x02", b"a"])
)
WRITES = strategies.dictionaries(KEYS, strategies.one_of(strategies.none(), strategies.binary(max_size=4)), max_size=8)


class StoreBesideADict(RuleBasedStateMachine):
    """Apply, read, reopen and crash, beside a plain dict."""

    persistent: bool

    def make(self) -> StoreKind:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.kind = self.make()
        self.store = self.kind.open(IDENTITY)
        self.model: dict[bytes, bytes] = {}
        self.offset: int | None = None

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    @rule(writes=WRITES, advance=strategies.integers(0, 5), known=strategies.booleans())
    def apply(self, writes: dict[bytes, bytes | None], advance: int, known: bool) -> None:
        offset = (self.offset or 0) + advance if known else None
        self.store.apply(writes, offset)
        self.offset = self.offset if offset is None else offset
        for key, value in writes.items():
            self.model.pop(key, None)
            if value is not None:
                self.model[key] = value

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        assert self.store.get(key) == self.model.get(key)

    @rule(start=KEYS, limit=strategies.one_of(strategies.none(), strategies.integers(0, 5)))
    def items(self, start: bytes, limit: int | None) -> None:
        wanted = sorted(item for item in self.model.items() if item[0] >= start)
        assert list(self.store.items(start, limit)) == wanted[:limit]

    @rule()
    def wipe(self) -> None:
        self.store.wipe()
        self.model, self.offset = {}, None

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.kind.open(IDENTITY)
        if not self.persistent:
            self.model, self.offset = {}, None

    @rule()
    def crash(self) -> None:
        if self.persistent:
            self.kind = crashed(self.kind)
            self.store.close()
            self.store = self.kind.open(IDENTITY)

    @invariant()
    def offset_stands(self) -> None:
        if hasattr(self, "store"):
            assert self.store.changelog_offset == self.offset


def crashed(kind: StoreKind) -> StoreKind:
    """Return what a killed process leaves: its files as they are now, without a close."""
    assert isinstance(kind, RocksStores)
    here = kind._tables.parent
    there = here.with_name(f"{here.name}x")
    while True:
        # A compaction may change the files while they are copied: only what stood still is the state of one moment.
        with contextlib.suppress(shutil.Error, FileNotFoundError):
            before = files(here)
            shutil.copytree(here, there)
            if files(here) == before:
                return RocksStores(there, kind._budget)
        shutil.rmtree(there, ignore_errors=True)


def files(folder: Path) -> list[tuple[Path, int]]:
    return sorted((path, path.stat().st_size) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("persistent", [False, True], ids=["memory", "rocksdb"])
def test_a_store_behaves_as_a_dict(persistent: bool, tmp_path: Path, budget: RocksBudget) -> None:
    runs = itertools.count()

    class Machine(StoreBesideADict):
        def make(self) -> StoreKind:
            return RocksStores(tmp_path / str(next(runs)), budget) if persistent else MemoryStores()

    Machine.persistent = persistent
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30 if persistent else 100,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
