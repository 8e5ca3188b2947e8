"""What a sample of the main thread's stack says about the stage that a record is in, and the sums made of them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

ELSEWHERE: Final = "elsewhere"
"""No rule knows the code: its files are listed in the JSON."""


class Frame(NamedTuple):
    """A function on the stack, at the line that it is in."""

    file: str
    """As in the code object, `/` between folders."""
    function: str
    line: str
    """Its source text: C functions, which have no frames, are told by the line that calls them."""


class Rule(NamedTuple):
    """Frames in `file` are `stage`, where the line holds one of `words` if there are any."""

    file: str
    words: tuple[str, ...]
    stage: str


MAIN_STAGES: Final = (
    "deliver",
    "record path",
    "decode",
    "dedupe look-up",
    "agent",
    "tables",
    "encode",
    "admit",
    "produce",
    "event loop",
)
"""Stages of the main thread, in a record's order."""

_RULES: Final = (
    # The engine's and the hand-written loop's: rules of one file in this order, the first that fits.
    Rule("streamapp/pipeline/cursor.py", ("decode(", "decode_all("), "decode"),
    Rule("streamapp/pipeline/decode.py", (), "decode"),
    Rule("streamapp/pipeline/dedupe.py", (), "dedupe look-up"),
    Rule("streamapp/pipeline/table.py", (), "tables"),
    Rule("streamapp/worker/tables.py", (), "tables"),
    Rule("streamapp/worker/topics.py", (), "encode"),
    Rule("streamapp/worker/handover.py", (), "encode"),
    Rule("streamapp/kafka/producer.py", (), "produce"),
    Rule("streamapp/pipeline/admission.py", (), "admit"),
    Rule("streamapp/pipeline/unit_of_work.py", (), "admit"),
    Rule("streamapp/pipeline/group.py", (), "deliver"),
    Rule("streamapp/pipeline/cursor.py", (), "record path"),
    Rule("streamapp/pipeline/process.py", (), "record path"),
    Rule("streamapp/pipeline/lane.py", (), "record path"),
    Rule("streamapp/pipeline/engine.py", (), "record path"),
    Rule("streamapp/worker/stream.py", (), "record path"),
    Rule("streamapp/worker/agents.py", (), "record path"),
    Rule("/asyncio/", (), "event loop"),
    Rule("/selectors.py", (), "event loop"),
)

_AGENTS: Final = ("/agents/", "/tables/", "tests/benchmarks/dedupe_app.py")
"""Code of users. What it calls (a table, a send) is told by the frames inside of it."""


def stage_of(stack: Iterable[Frame]) -> str:
    """Return the stage of a stack, innermost frame first: of the first frame that says one.

    Frames without a rule (savepoint, overlay, store) belong to whoever called them, so a store read by dedupe is dedupe's.
    """
    for frame in stack:
        if any(part in frame.file for part in _AGENTS):
            # The function that names a record's key is called by dedupe, and is its cost.
            if frame.function != "<lambda>":
                return "agent"
            continue
        for rule in _RULES:
            if rule.file in frame.file and (not rule.words or any(word in frame.line for word in rule.words)):
                return rule.stage
    return ELSEWHERE


class Snapshot(msgspec.Struct, kw_only=True):
    """All that was counted in a worker until one moment, taken after a commit."""

    records: int
    """Whose work is committed, of all sources."""
    process: float
    """CPU seconds."""
    main: dict[str, float]
    """CPU seconds of the main thread by stage."""
    unknown: dict[str, int]
    """Samples ELSEWHERE, by file."""
    parts: dict[str, float]
    """CPU seconds of the transaction thread by part."""
    threads: dict[str, float]
    """CPU seconds by thread."""
    samples: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    thread: str
    stage: str
    seconds: float


@dataclass(slots=True)
class Profile:
    """Where the CPU of one run went, between two snapshots."""

    records: int
    seconds: float
    """Of the process."""
    rows: list[Row] = field(default_factory=list)
    samples: int = 0
    unknown: dict[str, int] = field(default_factory=dict)

    def microseconds(self, seconds: float) -> float:
        """Return what `seconds` are for each record."""
        return seconds / self.records * 1e6

    def share(self, seconds: float) -> float:
        return seconds / self.seconds


MAIN: Final = "main"
TRANSACTIONS: Final = "kafka-txn"
OTHER_PARTS: Final = "waits and the rest"
UNACCOUNTED: Final = "threads that ended, and rounding"


def between(first: Snapshot, last: Snapshot) -> Profile:
    """Return what happened from `first` to `last`."""
    profile = Profile(
        last.records - first.records,
        last.process - first.process,
        samples=last.samples - first.samples,
        unknown=dict(Counter(last.unknown) - Counter(first.unknown)),
    )
    threads = _grown(first.threads, last.threads)
    rows = profile.rows
    rows += _split(MAIN, threads.pop(MAIN, 0.0), _grown(first.main, last.main), MAIN_STAGES)
    rows += _parts(threads.pop(TRANSACTIONS, 0.0), _grown(first.parts, last.parts))
    rows += [Row(name, "", seconds) for name, seconds in sorted(threads.items(), key=lambda each: -each[1])]
    rows.append(Row(UNACCOUNTED, "", profile.seconds - sum(row.seconds for row in rows)))
    return profile


def window(snapshots: Sequence[Snapshot], warm_up: int) -> tuple[Snapshot, Snapshot]:
    """Return first and last snapshot of the time when more than `warm_up` records were done, so of full load only.

    Raises LookupError where there are no two.
    """
    after = [each for each in snapshots if each.records > warm_up]
    if len(after) < 2 or after[0].records == after[-1].records:
        seen = snapshots[-1].records if snapshots else 0
        raise LookupError(
            f"{len(after)} notes of the worker lie behind the warm-up of {warm_up} records, the last at {seen}: too few to tell; take more records"
        )
    return after[0], after[-1]


def _grown(first: Mapping[str, float], last: Mapping[str, float]) -> dict[str, float]:
    grown = {name: seconds - first.get(name, 0.0) for name, seconds in last.items()}
    return {name: seconds for name, seconds in grown.items() if seconds > 0}


def _split(thread: str, total: float, found: Mapping[str, float], order: Sequence[str]) -> list[Row]:
    """Share what the kernel counted for a thread as its samples say."""
    sampled = sum(found.values())
    if sampled <= 0:
        return [Row(thread, "unknown: no samples", total)] if total else []
    names = [*(name for name in order if name in found), *(name for name in found if name not in order)]
    return [Row(thread, name, total * found[name] / sampled) for name in names]


def _parts(total: float, found: Mapping[str, float]) -> list[Row]:
    rows = [Row(TRANSACTIONS, name, seconds) for name, seconds in found.items()]
    return [*rows, Row(TRANSACTIONS, OTHER_PARTS, max(0.0, total - sum(found.values())))] if total or rows else []
