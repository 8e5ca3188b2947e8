"""A consumer group: members, generations, who has which partition, and the offsets, those of open transactions apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from streamapp.ports import CommittedOffset
from streamapp.records import Partition
from streamapp.testing.memory_kafka.refusals import Code, Refused


class MemoryGroupMetadata(NamedTuple):
    """The GroupMetadata of a MemorySource: of one moment, as Kafka's is."""

    group: str
    generation: int
    member: str
    instance: str | None


class Share(NamedTuple):
    """What a member has after a rebalance."""

    generation: int
    partitions: frozenset[Partition]


class GroupState(Enum):
    EMPTY = "empty"
    PREPARING = "preparing"
    """Members are to join; nobody has a new share before the last one has."""
    STABLE = "stable"


@dataclass(slots=True)
class Member:
    """One member as the coordinator knows it."""

    id: str
    instance: str | None
    topics: tuple[str, ...]
    is_eager: bool
    joined: bool = False
    """Whether it is in the present round of joins."""
    owned: frozenset[Partition] = frozenset()
    """What it said, when it joined, that it keeps."""
    share: Share | None = None
    """Its share, until it has fetched it."""
    held: frozenset[Partition] = frozenset()
    """Its last share: what a static member that comes back is handed."""

    @property
    def name(self) -> str:
        return self.instance or self.id


@dataclass(slots=True)
class GroupCoordinator:
    """Not thread-safe: the broker's lock is around every call. No member is ever dropped but by an explicit call."""

    name: str
    partitions_of: Callable[[str], int]
    state: GroupState = GroupState.EMPTY
    generation: int = 0
    rebalances: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    offsets: dict[Partition, tuple[int, str]] = field(default_factory=dict)
    pending: dict[int, dict[Partition, tuple[int, str]]] = field(default_factory=dict)
    """Offsets of open transactions, by producer id."""
    _made: int = 0
    _fenced: set[str] = field(default_factory=set)

    # --- membership

    def join(
        self, member: str | None, instance: str | None, topics: Sequence[str], owned: Iterable[Partition], *, is_eager: bool
    ) -> str:
        """Join, or join again; return the member id. The share is there once `share` says so. Raises Refused."""
        if member is not None:
            found = self._known(member)
            found.topics = tuple(topics)
            found.joined, found.share, found.owned = True, None, frozenset(owned)
            self._prepare()
            self._complete()
            return member
        self._made += 1
        new = Member(f"{instance or 'member'}-{self._made}", instance, tuple(topics), is_eager)
        old = self._static(instance)
        if old is not None:
            self._replace(old, new)
        else:
            self.members[new.id] = new
            new.joined = True
            self._prepare()
            self._complete()
        return new.id

    def share(self, member: str) -> Share | None:
        """Return the member's share once, when the round that it joined is over; else None. Raises Refused."""
        found = self._known(member)
        share, found.share = found.share, None
        return share

    def heartbeat(self, member: str, generation: int) -> bool:
        """Return whether the member has to join again. Raises Refused."""
        found = self._known(member)
        if self.state is GroupState.STABLE and generation != self.generation and found.share is None:
            raise Refused(Code.ILLEGAL_GENERATION, f"{generation} is not {self.generation}")
        return self.state is GroupState.PREPARING and not found.joined

    def leave(self, member: str) -> None:
        """A dynamic member's goodbye, or the end of anybody's session."""
        if self.members.pop(member, None) is None:
            return
        self._prepare()
        self._complete()

    def member_of(self, name: str) -> Member | None:
        """Return the member with this instance id, or this member id."""
        return self._static(name) or self.members.get(name)

    # --- offsets

    def commit(self, group: MemoryGroupMetadata, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """OffsetCommit. Raises Refused."""
        self._check(group)
        self.offsets.update(offsets)

    def add_pending(self, producer: int, group: MemoryGroupMetadata, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """TxnOffsetCommit: settled by the transaction's marker. Raises Refused."""
        self._check(group)
        self.pending.setdefault(producer, {}).update(offsets)

    def mark(self, producer: int, *, committed: bool) -> None:
        """The transaction that `producer` has open ended so."""
        offsets = self.pending.pop(producer, {})
        if committed:
            self.offsets.update(offsets)

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, CommittedOffset]:
        """Return the stable offsets. Raises Refused (UNSTABLE_OFFSET_COMMIT) while an open transaction holds one of them."""
        unsettled = {where for offsets in self.pending.values() for where in offsets}
        if unsettled.intersection(partitions):
            raise Refused(Code.UNSTABLE_OFFSET_COMMIT, self.name)
        return {where: CommittedOffset(*self.offsets.get(where, (None, ""))) for where in partitions}

    # --- inside

    def _check(self, group: MemoryGroupMetadata) -> None:
        if group.generation < 0 and not group.member:
            return  # Kafka takes offsets of one who says that it is no member: why a source must never hand such metadata out
        self._known(group.member)
        if group.generation != self.generation:
            raise Refused(Code.ILLEGAL_GENERATION, f"{group.generation} is not {self.generation}")

    def _known(self, member: str) -> Member:
        found = self.members.get(member)
        if found is None:
            raise Refused(Code.FENCED_INSTANCE_ID if member in self._fenced else Code.UNKNOWN_MEMBER_ID, member)
        return found

    def _static(self, instance: str | None) -> Member | None:
        return next((member for member in self.members.values() if instance is not None and member.instance == instance), None)

    def _replace(self, old: Member, new: Member) -> None:
        """A static member is back: in its place without a rebalance where the group stands still, and the older one is fenced."""
        del self.members[old.id]
        self._fenced.add(old.id)
        self.members[new.id] = new
        new.held = old.held
        if self.state is GroupState.STABLE and old.topics == new.topics:
            new.share = Share(self.generation, old.held)
            return
        new.joined = True
        self._prepare()
        self._complete()

    def _prepare(self) -> None:
        if not self.members:
            self.state = GroupState.EMPTY
            self.generation += 1
        elif self.state is not GroupState.PREPARING:
            self.state = GroupState.PREPARING
            self.rebalances += 1

    def _complete(self) -> None:
        """Share out, once every member has joined."""
        if self.state is not GroupState.PREPARING or not all(member.joined for member in self.members.values()):
            return
        self.generation += 1
        self.state = GroupState.STABLE
        shares = self._shares()
        for member in self.members.values():
            member.joined = False
            member.held = frozenset(shares[member.id])
            member.share = Share(self.generation, member.held)

    def _shares(self) -> dict[str, set[Partition]]:
        """Cooperative-sticky: members with the same topics share them evenly and keep what they have.

        What moves from one to another goes to nobody in this round: its owner gives it back first, and all join again. Eager members
        own nothing when they join, and get partition p of all their topics together, as `range` does.
        """
        shares: dict[str, set[Partition]] = {member: set() for member in self.members}
        owner = {where: member.id for member in self.members.values() for where in member.owned}
        readers: dict[tuple[str, ...], list[Member]] = {}
        for member in sorted(self.members.values(), key=lambda member: member.name):
            readers.setdefault(member.topics, []).append(member)
        for topics, members in readers.items():
            if any(member.is_eager for member in members):
                self._range(topics, members, shares)
                continue
            places = [Partition(topic, number) for topic in topics for number in range(self.partitions_of(topic))]
            for where, wanted in self._sticky(places, members).items():
                if owner.get(where, wanted) == wanted:
                    shares[wanted].add(where)
        return shares

    @staticmethod
    def _sticky(places: Sequence[Partition], members: Sequence[Member]) -> dict[Partition, str]:
        floor, extra = divmod(len(places), len(members))
        wanted: dict[Partition, str] = {}
        counts: dict[str, int] = {}
        by_holding = sorted(members, key=lambda member: -len(member.owned))
        for member in by_holding:
            kept = sorted(member.owned.intersection(places) - wanted.keys())
            most = floor + (1 if extra > 0 and len(kept) > floor else 0)
            extra -= most - floor
            wanted.update(dict.fromkeys(kept[:most], member.id))
            counts[member.id] = min(len(kept), most)
        for where in places:
            if where not in wanted:
                poorest = min(members, key=lambda member: (counts[member.id], member.name))
                wanted[where] = poorest.id
                counts[poorest.id] += 1
        return wanted

    def _range(self, topics: Sequence[str], members: Sequence[Member], shares: dict[str, set[Partition]]) -> None:
        for topic in topics:
            count = self.partitions_of(topic)
            floor, extra = divmod(count, len(members))
            begin = 0
            for at, member in enumerate(members):
                end = begin + floor + (1 if at < extra else 0)
                shares[member.id].update(Partition(topic, number) for number in range(begin, end))
                begin = end
