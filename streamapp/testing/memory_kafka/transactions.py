"""The transaction coordinator: producer ids and epochs, and how a transaction ends in every log and group it touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from streamapp.records import Partition
from streamapp.testing.memory_kafka.refusals import Code, Refused

if TYPE_CHECKING:
    from streamapp.testing.memory_kafka.group import GroupCoordinator
    from streamapp.testing.memory_kafka.log import PartitionLog


class ProducerId(NamedTuple):
    """Who writes: the id stays with a transactional.id, the epoch rises with each takeover."""

    id: int
    epoch: int


class Status(Enum):
    """empty -> ongoing -> committing | aborting -> committed | aborted -> ongoing."""

    EMPTY = "empty"
    ONGOING = "ongoing"
    COMMITTING = "committing"
    ABORTING = "aborting"
    COMMITTED = "committed"
    ABORTED = "aborted"


ENDING = {Status.COMMITTING: Status.COMMITTED, Status.ABORTING: Status.ABORTED}


@dataclass(slots=True)
class Transactional:
    """One transactional.id and its transaction."""

    name: str
    id: int
    timeout: float
    epoch: int = -1
    status: Status = Status.EMPTY
    began_at: float = 0.0
    partitions: dict[Partition, None] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)
    unmarked: list[Partition | str] = field(default_factory=list)
    """Where the end is decided and not yet written: partitions, and names of groups."""


class TransactionCoordinator:
    """Not thread-safe: the broker's lock is around every call. A decision is final at once; its markers may be held back."""

    def __init__(
        self, log: Callable[[Partition], PartitionLog], group: Callable[[str], GroupCoordinator], now: Callable[[], float]
    ) -> None:
        self.held: set[Partition | str] = set()
        """Where markers wait for `write_markers`."""
        self._log = log
        self._group = group
        self._now = now
        self._known: dict[str, Transactional] = {}

    def init(self, name: str, timeout: float) -> ProducerId:
        """Take over `name`: the older epoch is fenced, and what it left open is aborted. Raises Refused (CONCURRENT_TRANSACTIONS)."""
        found = self._known.setdefault(name, Transactional(name, 1000 + len(self._known), timeout))
        if found.status is Status.ONGOING:
            found.epoch += 1
            self._end(found, Status.ABORTING)
        if found.status in ENDING:
            raise Refused(Code.CONCURRENT_TRANSACTIONS, name)
        found.epoch += 1
        found.timeout = timeout
        found.status = Status.EMPTY
        return ProducerId(found.id, found.epoch)

    def add_partition(self, name: str, producer: ProducerId, partition: Partition) -> None:
        """Make `partition` part of the transaction, which begins with it if it is the first. Raises Refused."""
        self._begin(name, producer).partitions[partition] = None

    def add_group(self, name: str, producer: ProducerId, group: str) -> None:
        """The same for a group's offsets."""
        self._begin(name, producer).groups[group] = None

    def check_ongoing(self, name: str, producer: ProducerId, part: Partition | str) -> None:
        """Refuse a write of a part that is in no open transaction of this epoch."""
        found = self._current(name, producer)
        if found.status is not Status.ONGOING or (part not in found.partitions and part not in found.groups):
            raise Refused(Code.INVALID_TXN_STATE, f"{part} is in no open transaction of {name}")

    def end(self, name: str, producer: ProducerId, *, commit: bool) -> None:
        """EndTxn. Asked again for what has ended so, it agrees; for anything else it refuses (INVALID_TXN_STATE)."""
        found = self._current(name, producer)
        if found.status in ENDING:
            raise Refused(Code.CONCURRENT_TRANSACTIONS, name)
        if found.status is (Status.COMMITTED if commit else Status.ABORTED):
            return
        if found.status is not Status.ONGOING:
            raise Refused(Code.INVALID_TXN_STATE, f"{name} has no open transaction")
        self._end(found, Status.COMMITTING if commit else Status.ABORTING)

    def expire(self) -> list[str]:
        """Abort, and fence, what is open for longer than its timeout; return whose it was."""
        late = [
            found
            for found in self._known.values()
            if found.status is Status.ONGOING and self._now() - found.began_at >= found.timeout
        ]
        for found in late:
            found.epoch += 1
            self._end(found, Status.ABORTING)
        return [found.name for found in late]

    def write_markers(self) -> None:
        """Write every decided end where nothing holds it."""
        for found in self._known.values():
            if found.status not in ENDING:
                continue
            committed = found.status is Status.COMMITTING
            for part in [part for part in found.unmarked if part not in self.held]:
                if isinstance(part, Partition):
                    self._log(part).mark(found.id, committed=committed)
                else:
                    self._group(part).mark(found.id, committed=committed)
                found.unmarked.remove(part)
            if not found.unmarked:
                found.status = ENDING[found.status]
                found.partitions.clear()
                found.groups.clear()

    def open_transactions(self) -> list[str]:
        """Return the transactional.ids whose transaction is open or not yet marked everywhere."""
        return [found.name for found in self._known.values() if found.status is Status.ONGOING or found.status in ENDING]

    def _begin(self, name: str, producer: ProducerId) -> Transactional:
        found = self._current(name, producer)
        if found.status in ENDING:
            raise Refused(Code.CONCURRENT_TRANSACTIONS, name)
        if found.status is not Status.ONGOING:
            found.status = Status.ONGOING
            found.began_at = self._now()
        return found

    def _current(self, name: str, producer: ProducerId) -> Transactional:
        found = self._known.get(name)
        if found is None or found.id != producer.id or found.epoch != producer.epoch:
            raise Refused(Code.INVALID_PRODUCER_EPOCH, name)
        return found

    def _end(self, found: Transactional, status: Status) -> None:
        found.status = status
        # Groups first, as a coordinator may: offsets can be settled while a log's marker is still to come.
        found.unmarked = [*found.groups, *found.partitions]
        self.write_markers()
