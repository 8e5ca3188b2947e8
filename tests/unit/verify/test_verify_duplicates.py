"""A duplicate is found by key, header or field, with the place of both sights, in a store on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from streamapp.errors import SettingInvalid
from streamapp.records import Headers, Partition
from streamapp.state.budget import RocksBudget
from streamapp.state.identity import Identity
from streamapp.state.memory import MemoryStore
from streamapp.state.rocksdb import RocksStores
from streamapp.testing.memory_kafka import MemoryRecord
from streamapp.verify.duplicates import Duplicate, DuplicateFinder, extractor, readable


def read(
    at: int, raw_key: bytes | None = None, raw: bytes | None = None, number: int = 0, its_headers: Headers | None = None
) -> MemoryRecord:
    """Return a record as the client hands it over."""
    return MemoryRecord(Partition("orders-priced", number), at, raw_key, raw, (0, 0), its_headers)


def found(
    by: str, *batches: Iterable[MemoryRecord], per_partition: bool = False, named: int = 9, hidden: bool = False
) -> DuplicateFinder:
    finder = DuplicateFinder(MemoryStore(), extractor(by), per_partition=per_partition, named=named, hidden=hidden)
    for batch in batches:
        finder.take(batch)
    return finder


def test_a_duplicate_is_found_within_a_batch_and_across_batches() -> None:
    finder = found("key", [read(0, b"a"), read(1, b"b"), read(2, b"a")], [read(3, b"b"), read(4, b"c")])
    assert finder.first == [Duplicate("a", 0, 2, 0, 0), Duplicate("b", 0, 3, 0, 1)]
    assert (finder.records, finder.duplicates, finder.without_id) == (5, 2, 0)


def test_a_third_sight_names_the_first_one_too() -> None:
    finder = found("key", [read(0, b"a")], [read(5, b"a")], [read(9, b"a")])
    assert [(each.offset, each.first_offset) for each in finder.first] == [(5, 0), (9, 0)]


@pytest.mark.parametrize(
    ("by", "make"),
    [
        ("key", lambda value: read(0, value)),
        ("header:id", lambda value: read(0, its_headers=[("other", b"x"), ("id", value)])),
        ("json:id", lambda value: read(0, raw=json.dumps({"id": value.decode()}).encode())),
        ("json:order.id", lambda value: read(0, raw=json.dumps({"order": {"id": value.decode()}, "n": 1}).encode())),
    ],
)
def test_the_id_is_where_the_user_says(by: str, make: Callable[[bytes], MemoryRecord]) -> None:
    assert found(by, [make(b"o-1"), make(b"o-2"), make(b"o-1")]).duplicates == 1


@pytest.mark.parametrize("value", [None, b"not json", b"[1]", b"{}", b'{"id": null}', b'{"id": 1}'])
def test_a_record_without_the_id_is_counted_and_not_compared(value: bytes | None) -> None:
    finder = found("json:id.inner", [read(0, raw=value), read(1, raw=value)])
    assert (finder.without_id, finder.duplicates) == (2, 0)


def test_a_number_and_its_text_are_two_ids() -> None:
    assert found("json:id", [read(0, raw=b'{"id": 1}'), read(1, raw=b'{"id": "1"}')]).duplicates == 0


def test_partitions_can_be_told_apart() -> None:
    both = [read(0, b"a", number=0), read(0, b"a", number=1)]
    assert found("key", both).duplicates == 1
    assert found("key", both, per_partition=True).duplicates == 0


def test_only_the_first_are_named_and_ids_can_be_hidden() -> None:
    finder = found("key", [read(at, b"secret") for at in range(10)], named=2, hidden=True)
    assert (finder.duplicates, len(finder.first)) == (9, 2)
    assert "secret" not in finder.first[0].id


def test_an_id_is_shown_without_what_a_terminal_would_obey() -> None:
    shown = readable("é\t\x1b[31m\n".encode() + b"\xff")
    assert shown == r"é\t\x1b[31m\n\xff"
    assert len(readable(b"x" * 500)) == 81


@pytest.mark.parametrize("by", ["", "value", "json", "json:", "header:", "header"])
def test_another_way_to_find_an_id_is_refused_with_the_three_there_are(by: str) -> None:
    with pytest.raises(SettingInvalid, match="must be key, header:NAME or json:FIELD"):
        extractor(by)


def test_ids_are_remembered_on_disk(tmp_path: Path) -> None:
    identity = Identity(app_id="shop", table="seen", partition=0, changelog_id="")
    store = RocksStores(tmp_path, RocksBudget(16 * 1024 * 1024)).open(identity)
    finder = DuplicateFinder(store, extractor("key"), per_partition=False, named=9)
    for start in range(0, 30_000, 1_000):
        finder.take([read(at, b"%d" % (at % 29_999)) for at in range(start, start + 1_000)])
    store.close()
    assert finder.first == [Duplicate("0", 0, 29_999, 0, 0)]
