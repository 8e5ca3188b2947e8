"""What a replay would do: which letters it sends where, and what stands against each of the others. Reads only.

Its ends are taken first, so that preview and job are about the same letters whatever comes later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from streamapp.clock import Clock
from streamapp.dlq.candidate import Candidate, candidate_of
from streamapp.dlq.change import Change, Changed, Refused
from streamapp.dlq.copies import Target
from streamapp.dlq.filters import Filters, resolve_ids
from streamapp.dlq.guards import GuardRefused, OtherGroup, Sorted, older_than, require_named_target, sort_out, uncovered
from streamapp.dlq.letters import Letter, Reading, Watcher, bounds_of, read_letters, read_whole
from streamapp.dlq.order import READ_AT_MOST, READ_FOR, Overtaken, in_order, latest_per_key
from streamapp.dlq.statuses import read_statuses
from streamapp.dlq.subject import Subject
from streamapp.errors import SettingInvalid
from streamapp.pipeline.resolution import Status
from streamapp.ports import LogReader
from streamapp.records import Partition, RawRecord

GroupsOn = Callable[[Sequence[str]], Mapping[str, Mapping[Partition, int]]]
"""Topics -> every other group with committed offsets there, and its next ones (kafka.groups)."""


class NothingMatched(Exception):
    """No dead letter is meant (exit 4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for."""

    filters: Filters
    target: str | None = None
    """A topic named by hand; None: each letter's own source."""
    is_target_named: bool = False
    latest_per_key: bool = False
    stale_ok: bool = False
    force: bool = False
    reprocess: bool = False
    change: Change | None = None
    job: str | None = None
    """The job that is gone on with."""
    ends: Mapping[Partition, int] | None = None
    """Those of that job: what lies beyond was dead-lettered later, and is none of its business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done with the letters of one dead-letter topic."""

    dlq: str
    at: datetime
    ends: Mapping[Partition, int]
    unresolved: int
    """In the whole topic."""
    matched: tuple[Candidate, ...]
    send: tuple[Candidate, ...]
    """In order."""
    contents: Mapping[str, Changed]
    target: Target
    topics: tuple[str, ...]
    """Where copies go."""
    sorted: Sorted
    superseded: tuple[Candidate, ...] = ()
    stale: frozenset[str] = frozenset()
    unchecked: frozenset[str] = frozenset()
    """Not read to the end, and treated as stale."""
    is_order_checked: bool = True
    left: tuple[str, ...] = ()
    """The change wants them left where they are."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Id -> why it cannot be sent."""
    earlier: tuple[Candidate, ...] = ()
    """Sent by an earlier life of the job, and not answered."""
    others: tuple[OtherGroup, ...] = ()
    expired: int = 0
    """Older than the retention of the topic that they go to."""
    uncovered: int = 0
    """Older than what dedupe remembers."""

    @property
    def agents(self) -> list[str]:
        return sorted({letter.facts.agent for letter in self.matched})

    def require_allowed(self, *, stale_ok: bool, is_target_named: bool) -> None:
        """Raises GuardRefused: something needs a flag that was not given."""
        require_named_target(self.others, is_named=is_target_named)
        if not stale_ok and (stale := [letter.id for letter in self.send if letter.id in self.stale | self.unchecked]):
            many = f"{len(stale)} of {len(self.send)} are stale ({', '.join(stale[:3])}): a later record of the key was processed"
            if self.unchecked:
                many += f", or {len(self.unchecked)} could not be checked"
            raise GuardRefused(f"{many}; needs --stale-ok or --latest-per-key")


class Planner:
    """One thread."""

    def __init__(self, reader: LogReader, subject: Subject, *, groups_on: GroupsOn, clock: Clock, watcher: Watcher) -> None:
        self._reader = reader
        self._subject = subject
        self._groups_on = groups_on
        self._clock = clock
        self._watcher = watcher
        self._unresolved: list[Letter] = []
        """Of the topics that were read: none of them overtakes another."""
        self._there: frozenset[Partition] = frozenset()
        """The partitions of the cluster, asked for once."""

    def read(self, filters: Filters) -> Reading:
        """Return the letters that the filters mean, of every dead-letter topic. Raises NothingMatched, SettingInvalid, BrokerUnreachable."""
        bounds = bounds_of(self._reader, self._subject.dlqs(self._reader, filters.dlqs))
        statuses = read_statuses(self._reader, self._subject.app_id)
        reading = read_letters(
            self._reader, bounds, app_id=self._subject.app_id, resolutions=statuses.resolutions, watcher=self._watcher
        )
        self._unresolved = [letter for letter in reading.letters if letter.is_unresolved]
        chosen = [letter for letter in reading.letters if filters.matches(letter)]
        if filters.ids:
            _, unknown = resolve_ids(filters.ids, chosen)
            if unknown:
                raise NothingMatched(f"no such dead letter: {', '.join(sorted(unknown))}")
        if not chosen:
            raise NothingMatched(f"no dead letter matches in {', '.join(bounds.topics) or 'any dead-letter topic'}")
        return replace(reading, letters=chosen)

    def plans(self, wish: Wish, *, executes: bool = False) -> list[Plan]:
        """Return a plan for each dead-letter topic that has a letter meant. Raises NothingMatched, SettingInvalid, BrokerUnreachable."""
        at = datetime.fromtimestamp(self._clock.wall(), UTC)
        reading = self.read(wish.filters)
        letters = reading.letters
        if wish.ends is not None:
            letters = [each for each in letters if each.dlq.offset < wish.ends.get(Partition(*each.dlq[:2]), 0)]
        by_dlq: dict[str, list[Letter]] = {}
        for letter in letters:
            by_dlq.setdefault(letter.dlq.topic, []).append(letter)
        if not by_dlq:
            raise NothingMatched("nothing is left of that job")
        self._there = frozenset(self._reader.partitions())
        target = self._target(wish)
        return [
            self._plan(
                dlq, [candidate_of(each) for each in read_whole(self._reader, chosen)], wish, target, reading, at, executes
            )
            for dlq, chosen in sorted(by_dlq.items())
        ]

    # --- inside

    def _target(self, wish: Wish) -> Target:
        if wish.target is None:
            return Target()
        count = sum(partition.topic == wish.target for partition in self._there)
        if not count:
            raise SettingInvalid(f"--to topic:{wish.target}: there is no such topic")
        return Target(wish.target, count)

    def _plan(
        self,
        dlq: str,
        matched: list[Candidate],
        wish: Wish,
        target: Target,
        reading: Reading,
        at: datetime,
        executes: bool,
    ) -> Plan:
        earlier = [each for each in matched if wish.job is not None and each.job == wish.job and each.status is Status.REPLAYING]
        open_ = [each for each in matched if each not in earlier]
        found = sort_out(open_, force=wish.force, reprocess=wish.reprocess)
        refused: dict[str, str] = {}
        free = self._with_targets(self._completed(found.free, refused), target, refused)
        superseded: list[Candidate] = []
        if wish.latest_per_key:
            free, superseded = latest_per_key(free)
        # A job that may send what is stale need not know which it is.
        is_checked = target.topic is None and not (executes and wish.stale_ok)
        stale, unchecked = self._overtaken(free) if is_checked else (set(), set())
        if wish.latest_per_key and not wish.stale_ok:
            superseded += [letter for letter in free if letter.id in stale]
            free = [letter for letter in free if letter.id not in stale]
        send, contents, left = _changed(in_order(free), wish.change, refused)
        topics = tuple(sorted({target.topic or letter.source.topic for letter in matched}))
        now = at.timestamp()
        return Plan(
            dlq=dlq,
            at=at,
            ends={where: end for where, end in reading.bounds.ends.items() if where.topic == dlq}
            if wish.ends is None
            else wish.ends,
            unresolved=reading.totals[dlq].unresolved,
            matched=tuple(matched),
            send=tuple(send),
            contents=contents,
            target=target,
            topics=topics,
            sorted=found,
            superseded=tuple(superseded),
            stale=frozenset(stale),
            unchecked=frozenset(unchecked),
            is_order_checked=is_checked,
            left=tuple(left),
            refused=refused,
            earlier=tuple(earlier),
            others=tuple(self._others(topics)) if send else (),
            expired=older_than(send, self._retention(topics, target), now),
            uncovered=uncovered(send, self._subject.horizons, now),
        )

    def _completed(self, letters: Iterable[Candidate], refused: dict[str, str]) -> list[Candidate]:
        """Return the letters with what was cut away read from their sources; those whose record is gone are refused."""
        found: list[Candidate] = []
        for letter in letters:
            if not letter.missing:
                found.append(letter)
                continue
            record = self._record_at(letter)
            if record is None:
                cut = " and ".join(sorted(letter.missing))
                refused[letter.id] = f"its {cut} did not fit into {letter.dlq}, and {letter.read_at} is no longer in its topic"
                continue
            headers = [each for each in record.headers() or [] if not each[0].startswith("streamapp.dlq.")]
            found.append(
                replace(
                    letter,
                    key=record.key() if "key" in letter.missing else letter.key,
                    value=record.value() if "value" in letter.missing else letter.value,
                    headers=headers if "user-headers" in letter.missing else letter.headers,
                )
            )
        return found

    def _record_at(self, letter: Candidate) -> RawRecord | None:
        topic, number, offset = letter.read_at
        where = Partition(topic, number)
        if where not in self._there:
            return None
        start, end, _ = self._reader.ends(where)
        if not start <= offset < end:
            return None
        for records, _ in self._reader.read({where: (offset, offset + 1)}):
            for record in records:
                # A topic made again has other records at the old places.
                is_same = "key" in letter.missing or record.key() == letter.key
                size = letter.facts.value_size
                if record.offset() == offset and is_same and (size is None or len(record.value() or b"") == size):
                    return record
        return None

    def _with_targets(self, letters: list[Candidate], target: Target, refused: dict[str, str]) -> list[Candidate]:
        """Return those whose partition there is: a topic made again may have fewer."""
        if target.topic is not None:
            return letters
        for letter in letters:
            if letter.source not in self._there:
                refused[letter.id] = f"there is no {letter.source} now; --to topic:NAME sends it elsewhere"
        return [letter for letter in letters if letter.source in self._there]

    def _overtaken(self, letters: Sequence[Candidate]) -> tuple[set[str], set[str]]:
        """Return the letters that a later record of their key has overtaken, and those of which that was not found out."""
        search = Overtaken(letters, [candidate_of(each) for each in self._unresolved])
        ranges: dict[Partition, tuple[int, int]] = {}
        for where, offset in search.starts.items():
            start, end, _ = self._reader.ends(where)
            if max(start, offset) < end:
                ranges[where] = (max(start, offset), end)
        if not ranges:
            return search.ids, set()
        self._watcher.begin("reading what came after them", sum(end - start for start, end in ranges.values()))
        until, read = time.monotonic() + READ_FOR, 0
        try:
            for records, passed in self._reader.read(ranges):
                for record in records:
                    search.see(record)
                read += passed
                self._watcher.advance(passed)
                if read >= READ_AT_MOST or time.monotonic() >= until:
                    return search.ids, search.give_up(list(ranges)) if read < _total(ranges) else set()
        finally:
            self._watcher.end()
        return search.ids, set()

    def _others(self, topics: Sequence[str]) -> Iterable[OtherGroup]:
        for group, offsets in sorted(self._groups_on(topics).items()):
            lags: dict[str, int] = {}
            for where, offset in offsets.items():
                lags[where.topic] = lags.get(where.topic, 0) + max(0, self._reader.ends(where)[1] - offset)
            for topic, lag in sorted(lags.items()):
                yield OtherGroup(topic, group, lag)

    def _retention(self, topics: Sequence[str], target: Target) -> dict[str, float | None]:
        """Return seconds that records of a source topic live where they are sent; a topic that stamps on append keeps them all."""
        found: dict[str, float | None] = {}
        for topic, config in self._reader.topic_configs(topics).items():
            milliseconds = int(config.get("retention.ms", "-1"))
            is_kept = config.get("message.timestamp.type") == "LogAppendTime" or "delete" not in config.get(
                "cleanup.policy", "delete"
            )
            found[topic] = None if milliseconds < 0 or is_kept else milliseconds / 1000
        if target.topic is not None:
            return _Everywhere(found.get(target.topic))
        return found


class _Everywhere(dict[str, float | None]):
    """The same for every topic."""

    def __init__(self, value: float | None) -> None:
        super().__init__()
        self._value = value

    def get(self, key: str, default: object = None) -> float | None:
        return self._value


def _total(ranges: Mapping[Partition, tuple[int, int]]) -> int:
    return sum(end - start for start, end in ranges.values())


def _changed(
    letters: Sequence[Candidate], change: Change | None, refused: dict[str, str]
) -> tuple[list[Candidate], dict[str, Changed], list[str]]:
    """Return the letters to send, what is sent for each, and those that are left where they are."""
    if change is None:
        return list(letters), {letter.id: Changed.nothing(letter) for letter in letters}, []
    send: list[Candidate] = []
    contents: dict[str, Changed] = {}
    left: list[str] = []
    for letter in letters:
        try:
            changed = change(letter)
        except Refused as why:
            refused[letter.id] = str(why)
            continue
        if changed is None:
            left.append(letter.id)
        else:
            send.append(letter)
            contents[letter.id] = changed
    return send, contents, left


__all__ = ["GroupsOn", "NothingMatched", "Plan", "Planner", "Wish"]
