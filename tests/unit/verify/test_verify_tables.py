"""A table partition equals its changelog folded up to its offset, or the keys that differ are named; compaction accuses nobody."""

from __future__ import annotations

from hypothesis import given, strategies

from streamapp.digest import digest_of
from streamapp.state.memory import MemoryStore
from streamapp.verify.duplicates import readable
from streamapp.verify.tables import Comparison, Fold, compare

Log = list[tuple[bytes, bytes | None]]


def folded(log: Log, offset: int, *, batch: int = 2, without: frozenset[int] = frozenset()) -> Fold:
    """Fold a changelog of which compaction took the records `without`, in batches."""
    fold = Fold(MemoryStore(), offset)
    for start in range(0, len(log), batch):
        part = [(at, *log[at]) for at in range(start, min(start + batch, len(log))) if at not in without]
        fold.take({key: value for at, key, value in part if at < offset}, [key for at, key, _ in part if at >= offset])
    return fold


def state(log: Log, offset: int) -> dict[bytes, bytes]:
    rows: dict[bytes, bytes] = {}
    for key, value in log[:offset]:
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value
    return rows


def compared(held: dict[bytes, bytes], fold: Fold) -> Comparison:
    return compare(sorted(held.items()), fold, readable, named=5)


def compacted(log: Log) -> frozenset[int]:
    """Return what a compaction of the whole log takes: all but the last record of each key."""
    last = {key: at for at, (key, _) in enumerate(log)}
    return frozenset(range(len(log))) - frozenset(last.values())


LOG: Log = [(b"ann", b"1"), (b"bob", b"2"), (b"ann", b"3"), (b"bob", None), (b"cid", b"4"), (b"ann", b"5")]


def test_a_table_equals_its_changelog_up_to_its_offset_and_not_further() -> None:
    assert folded(LOG, 4).digest() == digest_of([(b"ann", b"3")])
    assert folded(LOG, 6).digest() == digest_of([(b"ann", b"5"), (b"cid", b"4")])
    assert folded(LOG, 0).digest().keys == 0


def test_every_kind_of_difference_is_counted_and_named() -> None:
    found = compared({b"ann": b"0", b"bob": b"2"}, folded(LOG, 6))
    assert (found.different, found.extra, found.missing, found.undecided) == (1, 1, 1, 0)
    assert found.named == ["ann: another value", "bob: not in the changelog", "cid: not in the table"]


def test_no_more_differences_are_named_than_asked_for() -> None:
    held = {b"%03d" % number: b"v" for number in range(50)}
    found = compared(held, folded([], 0))
    assert (found.extra, len(found.named)) == (50, 5)


def test_a_key_whose_earlier_record_compaction_took_is_undecided_and_no_difference() -> None:
    fold = folded(LOG, 4, without=compacted(LOG))
    assert fold.hides_some()
    found = compared(state(LOG, 4), fold)
    assert (found.wrong, found.undecided) == (0, 1)


def test_a_key_that_changed_later_and_kept_its_record_still_counts() -> None:
    fold = folded(LOG, 3)
    assert compared({b"ann": b"0", b"bob": b"2"}, fold).different == 1
    assert not folded([(b"ann", b"1"), (b"ann", b"2")], 1).hides_some()


@given(
    strategies.lists(
        strategies.tuples(strategies.sampled_from([b"", b"a", b"aa", b"b", b"\xff"]), strategies.none() | strategies.binary())
    ),
    strategies.integers(0, 40),
    strategies.integers(1, 7),
    strategies.booleans(),
)
def test_the_true_table_never_differs_and_a_false_one_always_does_where_nothing_is_compacted(
    log: Log, offset: int, batch: int, compact: bool
) -> None:
    offset = min(offset, len(log))
    true = state(log, offset)
    fold = folded(log, offset, batch=batch, without=compacted(log) if compact else frozenset())
    assert compared(true, fold).wrong == 0
    if compact:
        return
    assert fold.digest() == digest_of(sorted(true.items()))
    false = {**true, b"c": b"never written"}
    assert compared(false, fold).extra == 1
    assert fold.digest() != digest_of(sorted(false.items()))
