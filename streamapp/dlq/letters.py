"""Dead letters as they lie in their topics: the latest of each id, joined with its row in the status topic.

Reading takes the ends first and goes no further, so that what is read, shown and replayed is one set. Of each id only what the
screens list is kept; value, headers and stack are read again for those that are wanted whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from streamapp.pipeline.dead_letter import PREFIX, STREAMS_PREFIX, DeadLetter, read_dead_letter
from streamapp.pipeline.resolution import SETTLED, Resolution, Status
from streamapp.ports import LogReader
from streamapp.records import Headers, Partition, Position, RawRecord

FETCHED_TOGETHER: Final = 1_000
"""Letters that are read whole in one pass, fewer where they are large."""
FETCHED_BYTES: Final = 16 * 1024 * 1024
"""Of their values: what this command may hold at once."""


class Watcher(Protocol):
    """Is told how a long reading goes on."""

    def begin(self, what: str, total: int) -> None: ...
    def advance(self, count: int) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter, and what became of it."""

    dlq: Position
    """Its own place."""
    letter: DeadLetter
    """What its headers say."""
    key: bytes | None
    value: bytes | None
    """None, too, where `whole` is false."""
    user_headers: Headers
    timestamp: int | None
    """When its topic took it in, ms since 1970: retention counts from here."""
    resolution: Resolution | None = None
    count: int = 1
    """How often it was dead-lettered: more than once when a replay failed. The latest letter of an id stands for it."""
    whole: bool = True
    """Whether value, user headers and stack are there."""

    @property
    def id(self) -> str:
        return self.letter.id

    @property
    def place(self) -> str:
        """The id without its agent."""
        return str(self.letter.source)

    @property
    def status(self) -> Status:
        return Status.OPEN if self.resolution is None else self.resolution.status

    @property
    def is_unresolved(self) -> bool:
        return self.status not in SETTLED

    @property
    def failed_at(self) -> float | None:
        """Seconds since 1970 of the last failure."""
        return self.letter.failed_at.timestamp() if self.letter.failed_at is not None else self._appended

    @property
    def first_failed_at(self) -> float | None:
        return self.letter.first_failed_at.timestamp() if self.letter.first_failed_at is not None else self.failed_at

    @property
    def replays(self) -> int:
        """How often it was sent again: a row may know of a replay that did not come back as a letter."""
        return max(self.letter.replay_count, self.resolution.replays if self.resolution is not None else 0)

    @property
    def _appended(self) -> float | None:
        return None if self.timestamp is None else self.timestamp / 1000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is read of dead-letter topics: from the log's start to the end that there was when it was asked."""

    ranges: Mapping[Partition, tuple[int, int]]
    missing: tuple[str, ...] = ()
    """Topics that do not exist."""

    @property
    def topics(self) -> list[str]:
        return sorted({partition.topic for partition in self.ranges})

    @property
    def ends(self) -> dict[Partition, int]:
        return {partition: end for partition, (_, end) in self.ranges.items()}

    @property
    def positions(self) -> int:
        return sum(end - start for start, end in self.ranges.values())


def bounds_of(reader: LogReader, dlqs: Iterable[str], *, at_most: Mapping[Partition, int] | None = None) -> Bounds:
    """Return what there is to read now; with `at_most`, no further than the ends of an earlier time. Raises BrokerUnreachable."""
    wanted = list(dict.fromkeys(dlqs))
    there = [partition for partition in reader.partitions() if partition.topic in wanted]
    ranges = {}
    for partition in there:
        start, stable, _ = reader.ends(partition)
        end = stable if at_most is None else min(stable, at_most.get(partition, 0))
        ranges[partition] = (min(start, end), end)
    known = {partition.topic for partition in there}
    return Bounds(ranges, tuple(topic for topic in wanted if topic not in known))


@dataclass(frozen=True, slots=True)
class TopicTotals:
    """All dead letters of one topic, whatever the filters."""

    letters: int = 0
    """Distinct ids."""
    unresolved: int = 0
    oldest: Letter | None = None
    """The unresolved one that failed first."""
    dying: Letter | None = None
    """The unresolved one that has been in the log for longest: retention takes it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was found."""

    letters: list[Letter]
    """One for each id that was wanted, not whole; by their first failure, the oldest first."""
    bounds: Bounds
    totals: Mapping[str, TopicTotals]
    foreign: int = 0
    """Records that are no dead letters."""
    others: Mapping[str, int] = field(default_factory=dict)
    """App id -> dead letters of that app in a topic that it shares with ours: its own commands see to them."""


def read_letters(
    reader: LogReader,
    bounds: Bounds,
    *,
    app_id: str,
    resolutions: Mapping[str, Resolution],
    wants: Callable[[Letter], bool] | None = None,
    watcher: Watcher | None = None,
) -> Reading:
    """Return the dead letters within `bounds` that `wants` says yes to. Raises BrokerUnreachable.

    Read the statuses after the bounds were taken: then every letter within them has its row, as both are written in one transaction.
    """
    shelf = _Shelf(app_id, resolutions, wants or (lambda letter: True))
    if watcher is not None:
        watcher.begin(f"reading {', '.join(bounds.topics)}", bounds.positions)
    try:
        for records, passed in reader.read({where: each for where, each in bounds.ranges.items() if each[0] < each[1]}):
            for record in records:
                shelf.put(record)
            if watcher is not None:
                watcher.advance(passed)
    finally:
        if watcher is not None:
            watcher.end()
    return shelf.reading(bounds)


def read_whole(reader: LogReader, letters: Iterable[Letter]) -> Iterator[Letter]:
    """Yield these letters with value, headers and stack, in the order given, a few at a time in memory.

    One that retention has deleted meanwhile is left out. Raises BrokerUnreachable.
    """
    chunk: list[Letter] = []
    size = 0
    for letter in letters:
        chunk.append(letter)
        size += letter.letter.value_size or 0
        if len(chunk) == FETCHED_TOGETHER or size >= FETCHED_BYTES:
            yield from _fetched(reader, chunk)
            chunk, size = [], 0
    yield from _fetched(reader, chunk)


def _fetched(reader: LogReader, letters: Sequence[Letter]) -> Iterator[Letter]:
    by_place = {letter.dlq: letter for letter in letters}
    whole: dict[Position, Letter] = {}
    for ranges in _ranges(reader, by_place):
        for records, _ in reader.read(ranges):
            for record in records:
                known = by_place.get(_place(record))
                found = None if known is None else letter_of(record)
                if known is not None and found is not None:
                    whole[known.dlq] = replace(found, resolution=known.resolution, count=known.count)
    for letter in letters:
        if letter.dlq in whole:
            yield whole[letter.dlq]


def _ranges(reader: LogReader, places: Iterable[Position]) -> Iterator[dict[Partition, tuple[int, int]]]:
    """Yield rounds of ranges, one per partition each: neighbours in one, what lies far apart in rounds of its own."""
    runs: dict[Partition, list[list[int]]] = {}
    for topic, number, offset in sorted(places):
        of = runs.setdefault(Partition(topic, number), [])
        if of and offset - of[-1][1] < _NEAR:
            of[-1][1] = offset + 1
        else:
            of.append([offset, offset + 1])
    starts = {partition: reader.ends(partition)[0] for partition in runs}
    while runs:
        here = {partition: (max(run[0][0], starts[partition]), run[0][1]) for partition, run in runs.items()}
        yield {partition: (start, end) for partition, (start, end) in here.items() if start < end}
        runs = {partition: run[1:] for partition, run in runs.items() if run[1:]}


_NEAR: Final = 1_000
"""Offsets between two wanted letters that are sooner read than sought."""


def letter_of(record: RawRecord) -> Letter | None:
    """Return the dead letter that a record is, whole and without its status; None for a foreign record."""
    headers = record.headers() or []
    told = read_dead_letter(headers)
    if told is None:
        return None
    kind, milliseconds = record.timestamp()
    return Letter(
        dlq=_place(record),
        letter=told,
        key=record.key(),
        value=record.value(),
        user_headers=[header for header in headers if not header[0].startswith((PREFIX, STREAMS_PREFIX))],
        timestamp=milliseconds if kind else None,
    )


def _place(record: RawRecord) -> Position:
    return Position(record.topic() or "", record.partition() or 0, record.offset() or 0)


def _slim(letter: Letter) -> Letter:
    told = replace(letter.letter, stacktrace="", value_size=len(letter.value or b""))
    if letter.letter.value_size is not None:
        told = replace(told, value_size=letter.letter.value_size)
    return replace(letter, letter=told, value=None, user_headers=[], whole=False)


class _Shelf:
    """The latest letter of each id."""

    def __init__(self, app_id: str, resolutions: Mapping[str, Resolution], wants: Callable[[Letter], bool]) -> None:
        self._app_id = app_id
        self._resolutions = resolutions
        self._wants = wants
        self._latest: dict[str, Letter] = {}
        self._foreign = 0
        self._others: dict[str, int] = {}

    def put(self, record: RawRecord) -> None:
        found = letter_of(record)
        if found is None:
            self._foreign += 1
            return
        if found.letter.app not in ("", self._app_id):
            self._others[found.letter.app] = self._others.get(found.letter.app, 0) + 1
            return
        known = self._latest.get(found.id)
        if known is None:
            self._latest[found.id] = _slim(replace(found, resolution=self._resolutions.get(found.id)))
            return
        latest = _slim(replace(found, resolution=known.resolution)) if _is_later(found, known) else known
        self._latest[found.id] = replace(latest, count=known.count + 1)

    def reading(self, bounds: Bounds) -> Reading:
        totals = {topic: TopicTotals() for topic in bounds.topics}
        letters = sorted(self._latest.values(), key=lambda letter: (letter.first_failed_at or 0.0, letter.letter.source))
        for letter in letters:
            totals[letter.dlq.topic] = _added(totals[letter.dlq.topic], letter)
        return Reading(
            letters=[letter for letter in letters if self._wants(letter)],
            bounds=bounds,
            totals=totals,
            foreign=self._foreign,
            others=self._others,
        )


def _is_later(one: Letter, other: Letter) -> bool:
    """Whether `one` lies behind `other`; clocks decide only where the topic's partitions were added to meanwhile."""
    if one.dlq[:2] == other.dlq[:2]:
        return one.dlq.offset > other.dlq.offset
    return (one.timestamp or 0, one.letter.replay_count) >= (other.timestamp or 0, other.letter.replay_count)


def _added(totals: TopicTotals, letter: Letter) -> TopicTotals:
    if not letter.is_unresolved:
        return replace(totals, letters=totals.letters + 1)
    dying = totals.dying
    if dying is None or (letter.timestamp or 0) < (dying.timestamp or 0):
        dying = letter
    return TopicTotals(totals.letters + 1, totals.unresolved + 1, totals.oldest or letter, dying)


__all__ = [
    "Bounds",
    "Letter",
    "Reading",
    "TopicTotals",
    "Watcher",
    "bounds_of",
    "letter_of",
    "read_letters",
    "read_whole",
]
