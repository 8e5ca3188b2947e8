"""Open transactions as partitions and coordinators tell of them: which hang, who waits for them, and which may be ended how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from streamapp.kafka.groups import group_partition
from streamapp.kafka.transactions import CLEAN_UP, ENDED, CoordinatedTransaction, Marker, OpenProducer
from streamapp.records import Partition

COMMITTED: Final = "CompleteCommit"
COMMITTING: Final = "PrepareCommit"

OFFSETS: Final = "__consumer_offsets"


class Marking(StrEnum):
    """What ends a transaction in a partition as its coordinator meant it."""

    ABORT = "abort"
    COMMIT = "commit"
    """Its coordinator committed it: an abort would take away what it promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTransaction:
    """One producer's transaction that a partition has open."""

    partition: Partition
    producer_id: int
    epoch: int
    coordinator_epoch: int
    start: int
    """Its first offset in the partition."""
    last_timestamp: float | None
    """Of the last record it wrote, in seconds since 1970, as the record has it."""
    age: float | None
    """Seconds since it began, as its coordinator tells; else since its last record's time."""
    transactional_id: str | None = None
    state: str | None = None
    """Of the transactional id, as its coordinator tells."""
    timeout: float | None = None
    coordinator: str | None = None
    hanging: bool = False
    why: str = ""
    """Why it hangs, or what still ends it."""
    ends_by: Marking = Marking.ABORT
    stable: int | None = None
    """The partition's last stable offset: read_committed readers get no further."""
    high: int | None = None
    waits: tuple[str, ...] = ()
    """What of the app waits for it."""

    @property
    def marker(self) -> Marker:
        """Return its end. Where no coordinator has ended anything of the producer yet, any epoch will do."""
        return Marker(
            self.partition, self.producer_id, self.epoch, max(0, self.coordinator_epoch), self.ends_by is Marking.COMMIT
        )

    @property
    def behind(self) -> int | None:
        """Records between the partition's last stable offset and its end."""
        return None if self.stable is None or self.high is None else max(0, self.high - self.stable)

    def document(self) -> dict[str, object]:
        return {
            "kind": "transaction",
            "topic": self.partition.topic,
            "partition": self.partition.number,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "coordinator_epoch": self.coordinator_epoch,
            "start_offset": self.start,
            "last_timestamp": self.last_timestamp,
            "age": None if self.age is None else round(self.age, 3),
            "transactional_id": self.transactional_id,
            "state": self.state,
            "timeout": self.timeout,
            "coordinator": self.coordinator,
            "hanging": self.hanging,
            "why": self.why,
            "ends_by": str(self.ends_by) if self.hanging else None,
            "last_stable_offset": self.stable,
            "high_watermark": self.high,
            "records_behind": self.behind,
            "waits": list(self.waits),
        }


def judged(
    partition: Partition, producer: OpenProducer, told: CoordinatedTransaction | None, *, is_complete: bool, now: float
) -> OpenTransaction:
    """Return an open transaction with the verdict on it.

    `is_complete`: whether every broker told of its transactions; otherwise absence says nothing. `now`: seconds since 1970.
    """
    last = producer.last_timestamp_ms / 1000 if producer.last_timestamp_ms > 0 else None
    began = told.start_ms / 1000 if told is not None and told.start_ms > 0 and told.state not in ENDED else last
    age = None if began is None else max(0.0, now - began)
    hanging, why, ends_by = _verdict(partition, producer, told, age, is_complete=is_complete)
    return OpenTransaction(
        partition=partition,
        producer_id=producer.producer_id,
        epoch=producer.epoch,
        coordinator_epoch=producer.coordinator_epoch,
        start=producer.start,
        last_timestamp=last,
        age=age,
        transactional_id=None if told is None else told.transactional_id,
        state=None if told is None else told.state,
        timeout=None if told is None else told.timeout_ms / 1000,
        coordinator=None if told is None or told.coordinator is None else f"{told.coordinator[0]}:{told.coordinator[1]}",
        hanging=hanging,
        why=why,
        ends_by=ends_by,
    )


def _verdict(
    partition: Partition, producer: OpenProducer, told: CoordinatedTransaction | None, age: float | None, *, is_complete: bool
) -> tuple[bool, str, Marking]:
    if told is None:
        if is_complete:
            return True, "no coordinator knows its producer (or this user may not Describe its transactional id)", Marking.ABORT
        return False, "not every broker told of its transactions", Marking.ABORT
    if told.state in ENDED:
        if told.state == COMMITTED and told.epoch == producer.epoch:
            return True, "its coordinator calls it CompleteCommit: it lacks a commit marker here", Marking.COMMIT
        return True, f"its coordinator calls it {told.state}, so nobody will end it", Marking.ABORT
    limit = told.timeout_ms / 1000 + CLEAN_UP
    if age is not None and age >= limit:
        ends_by = Marking.COMMIT if told.state == COMMITTING else Marking.ABORT
        return True, f"open for {age:.0f} s; the broker should have ended it after {limit:g} s", ends_by
    if told.state == "Ongoing" and told.epoch != producer.epoch:
        return True, f"its coordinator is at epoch {told.epoch}, here is one of epoch {producer.epoch}", Marking.ABORT
    if told.state == "Ongoing" and told.partitions and partition not in told.partitions:
        return True, "its coordinator has another transaction open, which is not here", Marking.ABORT
    return False, f"its coordinator ends it within {limit:g} s of its beginning", Marking.ABORT


# --- what may be ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which transactions somebody wants to end; what is None is not asked about."""

    topics: frozenset[str] = frozenset()
    partition: int | None = None
    start: int | None = None
    producer_id: int | None = None
    hanging: bool = False

    def means(self, one: OpenTransaction) -> bool:
        return (
            (not self.topics or one.partition.topic in self.topics)
            and (self.partition is None or one.partition.number == self.partition)
            and (self.start is None or one.start == self.start)
            and (self.producer_id is None or one.producer_id == self.producer_id)
            and (not self.hanging or one.hanging)
        )


@dataclass(frozen=True, slots=True)
class Endings:
    """What would be ended, and what not."""

    ended: tuple[OpenTransaction, ...]
    refused: tuple[tuple[OpenTransaction, str], ...]
    """With what would let it pass."""
    forced: tuple[tuple[OpenTransaction, str], ...] = ()
    """Of those that are ended, what speaks against it."""


def endings(found: Iterable[OpenTransaction], wish: Wish, *, commits: bool, force: bool) -> Endings:
    """Return which of the transactions that are meant may be ended.

    `commits`: write a commit marker where the coordinator says that it committed. `force`: end also what its coordinator may still
    end by itself, and abort what it committed.
    """
    ended: list[OpenTransaction] = []
    refused: list[tuple[OpenTransaction, str]] = []
    forced: list[tuple[OpenTransaction, str]] = []
    for one in found:
        if not wish.means(one):
            continue
        reason = _objection(one, commits=commits)
        if reason is not None and not force:
            refused.append((one, reason))
            continue
        if reason is not None:
            forced.append((one, reason))
        ended.append(replace(one, ends_by=Marking.ABORT) if one.ends_by is Marking.COMMIT and not commits else one)
    return Endings(tuple(ended), tuple(refused), tuple(forced))


def _objection(one: OpenTransaction, *, commits: bool) -> str | None:
    if one.hanging:
        if one.ends_by is Marking.COMMIT and not commits:
            return (
                f"its coordinator says {one.state}: an abort would lose what it committed; --commit writes the commit marker that is "
                "missing here, --force aborts, which is right only for what is older than the last that it committed"
            )
        return None
    if one.state is None:
        return f"{one.why}: it may be alive; run this when they do, or with --force"
    name = one.transactional_id
    return (
        f"its coordinator says {one.state}, and its timeout of {one.timeout:g} s is not over: abort --transactional-id {name} ends it "
        "cleanly; with --force, records that it writes after this marker would be a transaction that nobody ends"
    )


# --- who waits


def waits_for(partition: Partition, role: str | None, group: str, behind: int | None) -> tuple[str, ...]:
    """Say what of the app a transaction holds up in a partition of this role."""
    held = f"{behind} records wait" if behind is not None else "what follows waits"
    if partition.topic == OFFSETS:
        return (f"committed offsets of group {group}: its restores and restarts wait",)
    words = {
        "source": f"group {group} reads {partition}: {held}",
        "changelog": f"restores of {partition}: {held}",
        "dead letters": f"readers of {partition}: {held}",
        "output": f"read_committed readers of {partition}: {held}",
    }
    return (words[role],) if role in words else ()


def offsets_partition(group: str, count: int) -> Partition:
    """Return where the broker keeps a group's committed offsets."""
    return Partition(OFFSETS, group_partition(group, count))


def in_order(found: Mapping[Partition, Sequence[OpenTransaction]]) -> list[OpenTransaction]:
    """Return the hanging ones first, then by place."""
    return sorted((one for many in found.values() for one in many), key=lambda one: (not one.hanging, one.partition, one.start))


__all__ = [
    "COMMITTED",
    "OFFSETS",
    "Endings",
    "Marking",
    "OpenTransaction",
    "Wish",
    "endings",
    "in_order",
    "judged",
    "offsets_partition",
    "waits_for",
]
