"""The open stores of a worker: kept over rebalances, replaced when they cannot be used."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from streamapp.errors import StoreCorrupted
from streamapp.ports import Store
from streamapp.state.budget import RocksBudget
from streamapp.state.identity import Identity
from streamapp.state.memory import MemoryStore, MemoryStores
from streamapp.state.rocksdb import RocksStores
from streamapp.state.stores import Stores
from tests.support.damage import damage_blocks, store_of


@pytest.fixture
def on_disk(tmp_path: Path) -> RocksStores:
    return RocksStores(tmp_path, RocksBudget(8 * 1024 * 1024))


def test_a_store_stays_open_until_it_is_closed() -> None:
    stores = Stores("shop", MemoryStores())
    store = stores.open("totals", 0, "id").store
    assert stores.open("totals", 0, "id").store is store
    stores.close("totals", 0)
    stores.close("totals", 0)
    assert not store.usable
    assert stores.open("totals", 0, "id").store is not store


def test_what_stays_away_is_closed() -> None:
    stores = Stores("shop", MemoryStores())
    kept, gone = stores.open("totals", 0, "id").store, stores.open("totals", 1, "id").store
    stores.close_others({("totals", 0)})
    assert (kept.usable, gone.usable) == (True, False)
    stores.close_all()
    stores.close_all()
    assert not kept.usable


def test_a_corrupt_store_is_wiped_and_the_reason_told(
    on_disk: RocksStores, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stores = Stores("shop", on_disk)
    stores.open("totals", 0, "id").store.apply({b"ann": b"1"}, 1)
    stores.close_all()
    (tmp_path / "tables" / "totals" / "0" / "CURRENT").write_text("x")
    with caplog.at_level(logging.WARNING):
        store, wiped = stores.open("totals", 0, "id")
    assert "CURRENT" in (wiped or "")
    assert (store.get(b"ann"), store.changelog_offset) == (None, None)
    assert [vars(record).get("event") for record in caplog.records] == ["store_wiped"]
    stores.close_all()


def test_a_store_of_another_changelog_is_wiped_even_while_it_is_open(on_disk: RocksStores) -> None:
    stores = Stores("shop", on_disk)
    stores.open("totals", 0, "old").store.apply({b"ann": b"1"}, 1)
    store, wiped = stores.open("totals", 0, "new")
    assert "'old' for 'new'" in (wiped or "")
    assert store.get(b"ann") is None
    stores.close_all()


def test_a_store_that_failed_a_write_is_opened_again(on_disk: RocksStores) -> None:
    stores = Stores("shop", on_disk)
    store = stores.open("totals", 0, "id").store
    store.apply({b"ann": b"1"}, 1)
    vars(store)["_failed"] = True
    again, wiped = stores.open("totals", 0, "id")
    assert again is not store
    assert (again.get(b"ann"), wiped) == (b"1", None)
    stores.close_all()


def test_a_store_of_a_newer_format_is_wiped_and_the_reason_told(
    on_disk: RocksStores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stores = Stores("shop", on_disk)
    monkeypatch.setattr("streamapp.state.identity.FORMAT", 2)
    stores.open("totals", 0, "id").store.apply({b"ann": b"1"}, 1)
    stores.close_all()
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING):
        store, wiped = stores.open("totals", 0, "id")
    assert "format 2 for 1" in (wiped or "")
    assert (store.get(b"ann"), store.changelog_offset) == (None, None)
    assert "format 2 for 1" in caplog.text
    stores.close_all()


def test_a_store_in_which_a_read_found_damage_is_wiped_though_it_would_open(
    on_disk: RocksStores, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stores = Stores("shop", on_disk)
    stores.open("totals", 0, "id").store.apply({b"%05d" % number: b"%d" % number for number in range(3_000)}, 3_000)
    stores.close_all()
    damage_blocks(store_of(tmp_path, "totals", 0))
    store, wiped = stores.open("totals", 0, "id")
    assert wiped is None
    with pytest.raises(StoreCorrupted):
        list(store.items())
    with caplog.at_level(logging.WARNING):
        again, wiped = stores.open("totals", 0, "id")
    assert "checksum mismatch" in (wiped or "")
    assert (list(again.items()), again.changelog_offset) == ([], None)
    assert [vars(record).get("event") for record in caplog.records] == ["store_wiped"]
    assert stores.open("totals", 0, "id").store is again
    stores.close_all()


def test_a_store_in_which_a_compaction_found_damage_takes_no_write_and_is_wiped(on_disk: RocksStores, tmp_path: Path) -> None:
    stores = Stores("shop", on_disk)
    stores.open("totals", 0, "id").store.apply({b"%06d" % number: b"%d" % number for number in range(3_000)}, 1)
    stores.close_all()
    damage_blocks(store_of(tmp_path, "totals", 0))
    store = stores.open("totals", 0, "id").store

    def write_on() -> None:
        for offset in range(2, 500):
            store.apply({b"%06d" % (number * 7 + offset): os.urandom(900) for number in range(500)}, offset)

    with pytest.raises(StoreCorrupted):  # nothing is read: the compaction runs in the background, and stops the writes
        write_on()
    _, wiped = stores.open("totals", 0, "id")
    assert "checksum mismatch" in (wiped or "")
    stores.close_all()


def test_a_store_that_is_corrupt_again_after_the_wipe_is_an_error() -> None:
    class Broken:
        def open(self, identity: Identity) -> Store:
            raise StoreCorrupted

        def wipe(self, identity: Identity) -> None:
            pass

    with pytest.raises(StoreCorrupted):
        Stores("shop", Broken()).open("totals", 0, "id")


def test_memory_stores_begin_empty() -> None:
    stores = Stores("shop", MemoryStores())
    opened = stores.open("totals", 0, "id")
    assert isinstance(opened.store, MemoryStore)
    assert opened.store.changelog_offset is None
