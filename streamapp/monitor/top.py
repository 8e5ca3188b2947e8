"""The screen of `streamapp top`: what the status documents of some workers say, as lines for a terminal of a given size.

No clock, no I/O. Unknown is `-`. A partition is told by its owner where that one answers; else by whoever knows of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Final

from rich.console import Console
from rich.text import Text

from streamapp.figures import UNKNOWN, duration, latency, number, rate, share, size
from streamapp.monitor.lag.verdict import Status
from streamapp.monitor.status import AgentStatus, Bounds, PartitionStatus, Point, StatusDocument

WIDE: Final = 120
"""Columns from which bounds stand beside their estimates."""
TREND: Final = 12
"""Characters of a partition's trend."""
BARS: Final = "▁▂▃▄▅▆▇█"

# A colour is never alone: the word says it, and the mark's shape.
_MARKS: Final = {
    Status.DATA_LOST: ("✖", "bold white on red"),
    Status.AT_RISK: ("▲", "bold red"),
    Status.STALLED: ("■", "bold red"),
    Status.CLIFF: ("◣", "yellow"),
    Status.UNKNOWN: ("?", "magenta"),
    Status.FALLING_BEHIND: ("↗", "yellow"),
    Status.CATCHING_UP: ("↘", "cyan"),
    Status.OK: ("●", "green"),
}
_ORDER: Final = {status.value: at for at, status in enumerate(Status)}
_HEADING: Final = "bold"
_QUIET: Final = "dim"
_BAD: Final = "red"


@dataclass(frozen=True, slots=True)
class Heard:
    """What one worker said when it was asked: a document, or why there is none."""

    url: str
    document: StatusDocument | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    cells: tuple[Text | str, ...]
    right: bool = True
    rank: int = 0
    """Where the width does not suffice, the column of the highest rank goes first; one of 0 stays."""

    @property
    def width(self) -> int:
        return max(len(self.heading), *(len(cell) for cell in self.cells), 0)


@dataclass(slots=True)
class _Section:
    """A heading and rows, of which the last may be left out."""

    heading: Text
    rows: list[Text]
    fewest: int
    """Rows that stay when others give way."""
    left_out: int = 0

    def lines(self) -> Iterator[Text]:
        yield self.heading
        yield from self.rows
        if self.left_out:
            yield Text(f"… {self.left_out} more", style=_QUIET)

    def give_way(self) -> None:
        """Become one line shorter. The first time takes two rows, as a line says that there are more."""
        count = 1 if self.left_out else 2
        del self.rows[len(self.rows) - count :]
        self.left_out += count

    @property
    def can_give_way(self) -> bool:
        return len(self.rows) > self.fewest + (0 if self.left_out else 1)


def screen(heard: Sequence[Heard], *, width: int, height: int, now: float) -> list[Text]:
    """Return the lines, at most `height` of at most `width` characters."""
    documents = [each.document for each in heard if each.document is not None]
    partitions = partitions_of(documents)
    console = Console(file=StringIO(), width=width)
    said = (*_verdicts(documents), _workers(documents, now), *_silent(documents, heard), *_worst(partitions))
    head = [line for sentence in said for line in sentence.wrap(console, width)]
    sections = [
        section
        for section in (
            _partitions(partitions, width),
            _agents(documents, width),
            _transactions(documents, width),
            _tables(documents, width),
            _dead_letters(documents, now, width),
        )
        if section.rows
    ]
    lines = [*head, *_fitted(sections, height - len(head))]
    for line in lines:
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _fitted(sections: list[_Section], height: int) -> list[Text]:
    """Return the sections' lines with an empty one before each; the longest give way until all fit, then the last are left out."""
    while sections:
        lines = [line for section in sections for line in (Text(), *section.lines())]
        if len(lines) <= height:
            return lines
        longest = max((each for each in sections if each.can_give_way), key=lambda each: len(each.rows), default=None)
        if longest is not None:
            longest.give_way()
        else:
            sections = sections[:-1]
    return []


# --- the head


def _verdicts(documents: Sequence[StatusDocument]) -> list[Text]:
    """One sentence per group, of the worker that knows all; where none does, one per worker, as each speaks of its own partitions."""
    whole = [document for document in documents if not document.only_this_worker]
    if whole or len(documents) == 1:
        newest = max(whole or documents, key=lambda document: document.at)
        return [_verdict(newest, newest.group.group)]
    ranked = sorted(documents, key=lambda document: (_rank(document.group.status), document.worker.worker))
    return [_verdict(document, f"{document.group.group} {document.worker.worker}") for document in ranked]


def _verdict(document: StatusDocument, name: str) -> Text:
    return Text.assemble(_status(document.group.status), "  ", (name, _HEADING), "  ", document.group.sentence)


def _workers(documents: Sequence[StatusDocument], now: float) -> Text:
    line = Text(_clock(now))
    for document in sorted(documents, key=lambda document: document.worker.worker):
        worker = document.worker
        line.append(f"  {worker.worker} {worker.version} ")
        if worker.draining:
            line.append("stopping", "yellow")
        elif worker.ready:
            line.append("ready", "green")
        else:
            line.append(f"not ready: {worker.failing or 'unknown'}", _BAD)
    return line


def _silent(documents: Sequence[StatusDocument], heard: Sequence[Heard]) -> Iterator[Text]:
    """Yield who does not answer: us, or the workers that do."""
    asked = {each.url for each in heard}
    silent = [f"{each.url}: {each.trouble}" for each in heard if each.document is None]
    for told in (*silent, *sorted({url for document in documents for url in document.unreachable} - asked)):
        yield Text(f"not answering: {told}", style=_BAD)


def _worst(partitions: Sequence[PartitionStatus]) -> list[Text]:
    """Return the sentence of the worst partition, and the command to run next, where something is wrong."""
    worst = partitions[0] if partitions else None
    if worst is None or worst.status in (Status.OK, Status.CATCHING_UP):
        return []
    said = [Text.assemble((f"{worst.topic}/{worst.partition} ", _HEADING), worst.sentence)]
    return [*said, Text.assemble(("next ", _HEADING), worst.fix)] if worst.fix else said


# --- partitions


def partitions_of(documents: Iterable[StatusDocument]) -> list[PartitionStatus]:
    """Return each partition once, worst first."""
    found: dict[tuple[str, int], tuple[bool, float, PartitionStatus]] = {}
    for document in documents:
        for row in document.partitions:
            known = found.get((row.topic, row.partition))
            told = (row.state is not None, document.at, row)
            if known is None or told[:2] > known[:2]:
                found[row.topic, row.partition] = told
    rows = [row for _, _, row in found.values()]
    return sorted(rows, key=lambda row: (_rank(row.status), -(row.age or 0.0), row.topic, row.partition))


def _partitions(rows: Sequence[PartitionStatus], width: int) -> _Section:
    wide = width >= WIDE
    owners = ("-" if not row.owner_known else row.owner or Text("nobody", style=_BAD) for row in rows)
    columns = [
        _Column("PARTITION", tuple(f"{row.topic}/{row.partition}" for row in rows), right=False),
        _Column("LAG", tuple(count(row.lag) for row in rows)),
        _Column("30 MIN", tuple(trend(row.history) for row in rows), right=False, rank=4),
        _Column("AGE", tuple(duration(row.age) for row in rows)),
        _Column("IN/S", tuple(UNKNOWN if row.produced_rate is None else number(row.produced_rate) for row in rows), rank=7),
        _Column("OUT/S", tuple(UNKNOWN if row.consumed_rate is None else number(row.consumed_rate) for row in rows), rank=6),
        _Column("GROWTH", tuple(_growth(row.growth, bounds=wide) for row in rows), rank=1),
        _Column("DRAIN", tuple(_drain(row.drain, bounds=wide) for row in rows), rank=3),
        _Column("LOSS", tuple("never" if row.loss_never else duration(row.loss) for row in rows), rank=2),
        _Column("COMMIT", tuple(duration(row.commit_age) for row in rows), rank=8),
        _Column("WORKER", tuple(owners), right=False, rank=5),
        _Column("STATUS", tuple(_status(row.status) for row in rows), right=False),
    ]
    return _table(columns, width, fewest=2)


def trend(points: Sequence[Point] | None) -> str:
    """Return a lag's course, oldest first; a blank where nothing is known. Its highest point is a full bar, 0 always the lowest."""
    if not points:
        return UNKNOWN
    groups = [points[len(points) * at // TREND : len(points) * (at + 1) // TREND] for at in range(TREND)]
    highest = [max((point.lag for point in group if point.lag is not None), default=None) for group in groups if group]
    top = max((lag for lag in highest if lag is not None), default=0)
    return "".join(" " if lag is None else BARS[0 if top == 0 else round((len(BARS) - 1) * lag / top)] for lag in highest)


def _growth(bounds_of: Bounds | None, *, bounds: bool) -> str:
    if bounds_of is None:
        return UNKNOWN
    said = rate(bounds_of.estimate, signed=True)
    return f"{said} ({number(bounds_of.low)}…{number(bounds_of.high)})" if bounds else said


def _drain(bounds_of: Bounds | None, *, bounds: bool) -> str:
    if bounds_of is None:
        return UNKNOWN
    said = duration(bounds_of.estimate)
    return f"{said} ({duration(bounds_of.low)}…{duration(bounds_of.high)})" if bounds else said


# --- the other sections


def _agents(documents: Sequence[StatusDocument], width: int) -> _Section:
    """Agents by name: counts are summed over the workers, of shares and durations the worst is shown."""
    agents: dict[str, list[AgentStatus]] = {}
    for document in documents:
        for agent in document.agents:
            agents.setdefault(agent.name, []).append(agent)
    found = list(agents.values())
    dead = [sum(letter.count for agent in each for letter in agent.dead_letters) for each in found]
    breakers = [sum(len(agent.breakers) for agent in each) for each in found]
    columns = [
        _Column("AGENT", tuple(agents), right=False),
        _Column("READS", tuple(", ".join(each[0].topics) for each in found), right=False, rank=3),
        _Column("PROCESSED", tuple(count(sum(agent.processed for agent in each)) for each in found)),
        _Column("BUSY", tuple(share(_most(agent.busy for agent in each)) for each in found)),
        _Column("P50", tuple(latency(_most(agent.p50 for agent in each)) for each in found), rank=4),
        _Column("P99", tuple(latency(_most(agent.p99 for agent in each)) for each in found)),
        _Column("IN HAND", tuple(count(sum(agent.in_hand for agent in each)) for each in found), rank=2),
        _Column("RETRIES", tuple(count(sum(sum(agent.retries.values()) for agent in each)) for each in found), rank=1),
        _Column("DEAD LETTERS", tuple(Text(count(number), style=_BAD if number else "") for number in dead)),
        _Column(
            "BREAKERS", tuple(Text(f"{number} open", style=_BAD) if number else "closed" for number in breakers), right=False
        ),
    ]
    return _table(columns, width, fewest=1)


def _transactions(documents: Sequence[StatusDocument], width: int) -> _Section:
    told = sorted(documents, key=lambda document: document.worker.worker)
    of = [document.transactions for document in told]
    columns = [
        _Column("TRANSACTIONS", tuple(document.worker.worker for document in told), right=False),
        *(
            _Column(outcome.upper(), tuple(count(each.outcomes.get(outcome, 0)) for each in of), rank=rank)
            for outcome, rank in (("committed", 0), ("aborted", 0), ("resumed", 3), ("unknown", 4))
        ),
        _Column("REBUILT", tuple(count(sum(each.rebuilds.values())) for each in of), rank=2),
        _Column("OPEN", tuple(latency(each.open_age) for each in of)),
        _Column("COMMIT P50", tuple(latency(each.commit_p50) for each in of), rank=5),
        _Column("COMMIT P99", tuple(latency(each.commit_p99) for each in of), rank=1),
        _Column("REBALANCES", tuple(count(each.rebalances) for each in of), rank=1),
    ]
    return _table(columns, width, fewest=1)


def _tables(documents: Sequence[StatusDocument], width: int) -> _Section:
    """Tables by name, summed up; what is restored first."""
    names = list(dict.fromkeys(row.table for document in documents for row in document.tables))
    of = {name: [row for document in documents for row in document.tables if row.table == name] for name in names}
    names.sort(key=lambda name: all(row.remaining is None for row in of[name]))
    rows = [of[name] for name in names]
    left = [[row for row in each if row.remaining is not None or row.trouble is not None] for each in rows]
    columns = [
        _Column("TABLE", tuple(names), right=False),
        _Column("PARTITIONS", tuple(count(len(each)) for each in rows)),
        _Column("KEYS", tuple(count(_sum(row.keys for row in each)) for each in rows)),
        _Column("BYTES", tuple(size(_sum(row.bytes for row in each)) for each in rows)),
        _Column("RESTORING", tuple(count(len(each)) if each else "none" for each in left)),
        _Column("TO RESTORE", tuple(count(_sum(row.remaining for row in each)) if each else UNKNOWN for each in left), rank=1),
        _Column("TIME LEFT", tuple(duration(_most(row.seconds_left for row in each)) for each in left)),
        _Column("TROUBLE", tuple(next((row.trouble for row in each if row.trouble), "") for each in left), right=False, rank=2),
    ]
    return _table(columns, width, fewest=1)


def _dead_letters(documents: Sequence[StatusDocument], now: float, width: int) -> _Section:
    told = sorted((row for document in documents for row in document.dead_letters), key=lambda row: row.is_read)
    # A partition that somebody reads is told by its reader, whoever else knows of it.
    of = {(row.topic, row.partition): row for row in told}
    topics = sorted({row.topic for row in told})
    rows = [[row for row in of.values() if row.topic == topic] for topic in topics]
    oldest = [min((row.oldest for row in each if row.oldest is not None), default=None) for each in rows]
    unresolved = [
        f"{'≥ ' if any(row.lower_bound for row in each) else ''}{count(sum(row.unresolved for row in each))}" for each in rows
    ]
    columns = [
        _Column("DEAD LETTERS", tuple(topics), right=False),
        _Column("UNRESOLVED", tuple(Text(each, style="" if each == "0" else _BAD) for each in unresolved)),
        _Column("OLDEST", tuple(duration(None if at is None else max(0.0, now - at)) for at in oldest)),
        _Column(
            "DELETED IN",
            tuple(duration(min((row.loss for row in each if row.loss is not None), default=None)) for each in rows),
        ),
    ]
    return _table(columns, width, fewest=1)


# --- cells


def _table(columns: Sequence[_Column], width: int, *, fewest: int) -> _Section:
    shown = list(columns)
    while sum(column.width for column in shown) + 2 * (len(shown) - 1) > width:
        dearest = max(shown, key=lambda column: column.rank)
        if dearest.rank == 0:
            break
        shown.remove(dearest)
    heading = Text(_joined([column.heading for column in shown], shown).plain, style=_HEADING)
    return _Section(heading, [_joined(cells, shown) for cells in zip(*(column.cells for column in shown), strict=True)], fewest)


def _joined(cells: Sequence[Text | str], columns: Sequence[_Column]) -> Text:
    line = Text()
    for cell, column in zip(cells, columns, strict=True):
        blank = " " * (column.width - len(cell))
        line.append("  " if line else "")
        line.append(blank if column.right else "")
        line.append(cell)
        line.append("" if column.right else blank)
    line.rstrip()
    return line


def _status(status: str) -> Text:
    mark, style = _MARKS[Status(status)] if status in _ORDER else _MARKS[Status.UNKNOWN]
    return Text(f"{mark} {status}", style=style)


def _rank(status: str) -> int:
    """Return how bad it is, worst 0. A word of a later version is as good as unknown."""
    return _ORDER.get(status, _ORDER[Status.UNKNOWN])


def count(number: int | None) -> str:
    return UNKNOWN if number is None else str(number)


def _most(figures: Iterable[float | None]) -> float | None:
    return max((figure for figure in figures if figure is not None), default=None)


def _sum(figures: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; unknown where nothing is."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None


def _clock(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%H:%M:%SZ")


__all__ = ["Heard", "count", "partitions_of", "screen", "trend"]
