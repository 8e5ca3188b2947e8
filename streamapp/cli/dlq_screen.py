"""What the dead-letter commands show people: aligned and coloured on a terminal, tab-separated in a pipe (OPERATIONS §2.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from streamapp.cli.dlq_documents import age_of
from streamapp.figures import duration
from streamapp.verify.duplicates import hashed, readable

if TYPE_CHECKING:
    from streamapp.dlq.blocked import BlockedKey
    from streamapp.dlq.checks import Finding
    from streamapp.dlq.letters import Letter, Reading, TopicTotals
    from streamapp.dlq.stats import Kind
    from streamapp.dlq.values import Shown
    from streamapp.pipeline.resolution import Job

LETTERS: Final = ("ID", "AGE", "AGENT", "STAGE", "ERROR", "ATTEMPTS", "REPLAYS", "STATUS", "FINGERPRINT", "KEY")
COUNTS: Final = ("COUNT", "UNRESOLVED", "FIRST", "LAST", "PER HOUR", "DELETED IN", "ERROR", "LATEST")
"""Behind what is counted by. DELETED IN: when retention takes the oldest unresolved one."""
JOBS: Final = (
    "JOB", "STARTED", "DLQ", "STATE", "OPERATOR", "TARGET", "MATCHED", "SENT", "RESOLVED", "REOPENED", "SCOPE", "REASON",
)  # fmt: skip
_COLOURS: Final = {
    "open": "yellow",
    "reopened": "bold red",
    "parked": "bold red",
    "replaying": "cyan",
    "resolved": "green",
    "discarded": "dim",
    "running": "cyan",
    "finished": "green",
    "stopped": "yellow",
    "error": "bold red",
    "warning": "yellow",
    "info": "cyan",
    "could not check": "yellow",
}
SOON: Final = 48 * 3600.0
"""Seconds before retention deletes it from which on a letter says so."""
_FRAME: Final = re.compile(r"^  (\S.*)$", re.MULTILINE)
_FIELD: Final = re.compile(r"\w+\.([\w.\[\]]+) (?:is|has|holds) ")


# --- words


def printable(text: str) -> str:
    """Return text without what a terminal would obey, or a line break at."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def key_cell(raw: bytes | None, *, hidden: bool) -> str:
    return "-" if raw is None else hashed(raw) if hidden else readable(raw)


def error_cell(letter: Letter) -> str:
    """Return the exception's class, and the field where the model refused one."""
    told = letter.letter
    name = told.exception_type.rpartition(".")[2] or "-"
    field = _FIELD.match(told.message) if told.stage == "validate" else None
    return printable(f"{name} {field[1]}" if field else name)


def topic_sentence(topic: str, totals: TopicTotals, left: float | None, now: float) -> str:
    counted = f"{topic}: {totals.letters} dead letter{_s(totals.letters)}, {totals.unresolved} unresolved"
    if totals.oldest is None:
        return counted
    sentence = f"{counted}, oldest {duration(age_of(totals.oldest, now))}"
    if left is None:
        return sentence
    which = "it" if totals.dying is totals.oldest else str(totals.dying and totals.dying.place)
    return f"{sentence}; retention deletes {which} in {duration(left)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


# --- tables


def letter_rows(letters: Sequence[Letter], now: float, *, hidden: bool) -> list[tuple[str, ...]]:
    places: dict[str, int] = {}
    for letter in letters:
        places[letter.place] = places.get(letter.place, 0) + 1
    return [
        (
            letter.id if places[letter.place] > 1 else letter.place,
            duration(age_of(letter, now)),
            letter.letter.agent,
            letter.letter.stage or "-",
            error_cell(letter),
            str(letter.letter.attempts),
            str(letter.replays),
            str(letter.status),
            letter.letter.fingerprint or "-",
            key_cell(letter.key, hidden=hidden),
        )
        for letter in letters
    ]


def blocked_rows(rows: Iterable[BlockedKey], now: float, *, hidden: bool) -> list[tuple[str, ...]]:
    return [
        (
            key_cell(row.key, hidden=hidden),
            str(row.held),
            duration(max(0.0, now - row.since)),
            row.head,
            row.agent,
            f"{row.topic}/{row.partition}",
        )
        for row in rows
    ]


def kind_rows(kinds: Iterable[Kind], lefts: Sequence[float | None], now: float) -> list[tuple[str, ...]]:
    return [
        (
            *(value or "-" for value in kind.by.values()),
            str(kind.count),
            str(kind.unresolved),
            _seen(kind.first, now),
            _seen(kind.last, now),
            "-" if kind.per_hour is None else f"{kind.per_hour:.1f}",
            duration(left),
            error_cell(kind.example),
            kind.example.place,
        )
        for kind, left in zip(kinds, lefts, strict=True)
    ]


def job_rows(jobs: Iterable[tuple[str, Job]], now: float) -> list[tuple[str, ...]]:
    return [
        (
            name,
            _seen(job.started.timestamp(), now),
            job.dlq,
            str(job.state),
            job.operator,
            job.target,
            str(job.matched),
            str(job.sent),
            str(job.resolved),
            str(job.reopened),
            job.scope,
            job.reason or "-",
        )
        for name, job in jobs
    ]


def _seen(moment: float | None, now: float) -> str:
    return "-" if moment is None else f"{duration(max(0.0, now - moment))} ago"


def print_table(
    console: Console,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    headings: bool = True,
    colours: Mapping[str, str] = _COLOURS,
) -> None:
    """Print rows under headings on a terminal; in a pipe without them, tab-separated. A cell that `colours` names has its colour."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not console.is_terminal:
        for row in cells:
            print_line(console, "\t".join(row))
        return
    widths = [max(cell_len(row[index]) for row in (names, *cells)) for index in range(len(names))]
    if headings:
        print_line(console, _aligned(names, widths, {}), style="bold")
    for row in cells:
        print_line(console, _aligned(row, widths, colours))


def _aligned(cells: Sequence[str], widths: Sequence[int], colours: Mapping[str, str]) -> Text:
    text = Text()
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        last = index == len(cells) - 1
        text.append(cell, style=colours.get(cell, ""))
        text.append("" if last else " " * (width - cell_len(cell) + 2))
    return text


def print_line(console: Console, line: str | Text, style: str = "") -> None:
    """Print one line as it is: no markup, no highlight, no wrapping at the terminal's width."""
    text = Text(line) if isinstance(line, str) else line
    if console.is_terminal:
        console.print(text, style=style, highlight=False, soft_wrap=True)
    else:
        console.file.write(f"{text.plain}\n")  # rich would make spaces of the tabs


# --- one letter


def letter_screen(
    letter: Letter, shown: Shown, job: Job | None, *, next_command: str, left: float | None, hidden: bool, stack: bool, raw: bool
) -> list[tuple[str, str]]:
    """Return the lines of a whole letter: a name and what stands behind it. The last is the command to run next."""
    told = letter.letter
    lines = [
        ("id", _wide(letter.id, _became(letter), f"fingerprint {told.fingerprint or '-'}")),
        (
            "where",
            _wide(
                str(letter.dlq), f"read at {told.position or '-'}", f"group {told.group or '-'}", f"worker {told.worker or '-'}",
                f"version {told.version or '-'}",
            ),
        ),
        ("when", _when(letter)),
        ("what", f"{told.stage}, {told.reason}, {told.attempts} attempt{_s(told.attempts)}, order {told.order or '-'}"),
        ("error", _error(letter, hidden=hidden)),
    ]  # fmt: skip
    if told.stacktrace and not hidden:
        lines.append(("stack", _stack(told.stacktrace, whole=stack)))
    lines.append(("key", _raw(letter.key) if raw and not hidden else key_cell(letter.key, hidden=hidden)))
    lines.append(("value", _value(letter, shown, hidden=hidden, raw=raw)))
    if letter.user_headers:
        lines.append(("headers", _headers(letter, hidden=hidden, raw=raw)))
    if told.truncated:
        lines.append(("cut", ", ".join(told.truncated)))
    if told.edited_by:
        lines.append(("edited", f"by {told.edited_by}"))
    lines.append(("replays", _replays(letter, job)))
    if letter.resolution is not None and not letter.is_unresolved:
        row = letter.resolution
        why = f": {row.reason}" if row.reason else ""
        lines.append(("settled", f"{row.outcome or row.status} {_clock(row.at)} by {row.by}{why}"))
    if left is not None and left < SOON and letter.is_unresolved:
        lines.append(("kept", f"retention deletes it in {duration(left)}"))
    lines.append(("next", next_command))
    return [(name, printable(text)) if name != "stack" else (name, text) for name, text in lines]


def print_screen(console: Console, lines: Iterable[tuple[str, str]]) -> None:
    for name, text in lines:
        if not console.is_terminal:
            print_line(console, f"{name}\t{printable(text)}")
            continue
        first, *more = text.split("\n")
        line = Text(f"{name:<10}", style="bold")
        line.append(first, style="default")
        print_line(console, line)
        for each in more:
            print_line(console, f"{'':10}{printable(each)}")


def _wide(*parts: str) -> str:
    return "   ".join(part for part in parts if part)


def _became(letter: Letter) -> str:
    times = letter.replays
    return str(letter.status) + (f", replayed {times} time{_s(times)}" if times else "")


def _when(letter: Letter) -> str:
    told = letter.letter
    record = None if told.timestamp is None or told.timestamp < 0 else datetime.fromtimestamp(told.timestamp / 1000, UTC)
    day = None if record is None else record.date()
    return _wide(
        f"record {'-' if record is None else _rfc3339(record)}",
        f"first failed {_clock(told.first_failed_at, day, milliseconds=True)}",
        f"last failed {_clock(told.failed_at, day, milliseconds=True)}",
    )


def _error(letter: Letter, *, hidden: bool) -> str:
    told = letter.letter
    name = told.exception_type.rpartition(".")[2]
    if hidden:
        return name
    return _wide(f"{name}: {told.message}" if told.message else name, f"cause {told.cause}" if told.cause else "")


def _stack(text: str, *, whole: bool) -> str:
    frames = [printable(frame) for frame in _FRAME.findall(text)]
    if whole:
        return "\n".join(printable(line) for line in text.split("\n"))
    if not frames:
        return printable(text.split("\n", maxsplit=1)[0])
    inner = _FRAME.findall(text.split("\ncaused by ", maxsplit=1)[0])[:2]
    shown = "  <  ".join(printable(frame) for frame in inner) or frames[0]
    return shown if len(frames) <= max(1, len(inner)) else f"{shown}   (--stack: all {len(frames)} frames)"


def _value(letter: Letter, shown: Shown, *, hidden: bool, raw: bool) -> str:
    size = "" if shown.size is None else f", {shown.size} bytes"
    why = f"; {shown.why_not}" if shown.why_not else ""
    if letter.value is None:
        return f"-   {shown.form}"
    if hidden:
        return _wide("-", f"hidden{size}")
    if raw:
        return _wide(_raw(letter.value), f"hex{size}")
    return _wide(shown.text, f"{shown.form}{size}{why}")


def _raw(raw: bytes | None) -> str:
    return "-" if raw is None else raw.hex()


def _headers(letter: Letter, *, hidden: bool, raw: bool) -> str:
    def cell(value: bytes | None) -> str:
        if value is None:
            return "null"
        return "…" if hidden else value.hex() if raw else readable(value)

    return _wide(*(f"{name}={cell(value)}" for name, value in letter.user_headers))


def _replays(letter: Letter, job: Job | None) -> str:
    told, row = letter.letter, letter.resolution
    if not letter.replays:
        return "none"
    parts = []
    at = told.replayed_at
    if at is not None:
        parts.append(_clock(at, None if told.failed_at is None else told.failed_at.astimezone(UTC).date()))
    name = None if row is None else row.job
    if name is not None:
        parts.append(f"job {name}" + (f" by {job.operator}" if job is not None else ""))
    said = " ".join(parts) or "-"
    if told.replay_count and at is not None and told.failed_at is not None:
        said += f", failed again after {duration(max(0.0, (told.failed_at - at).total_seconds()))}"
    return f"{letter.replays}: {said}"


def _clock(moment: datetime | None, day: object = None, *, milliseconds: bool = False) -> str:
    """Return a time of day, with its date where it is another day than `day`."""
    if moment is None:
        return "-"
    text = _rfc3339(moment) if milliseconds else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return text.partition("T")[2] if moment.astimezone(UTC).date() == day else text


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- findings and what else was met


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    if not console.is_terminal:
        for each in findings:
            print_line(
                console, "\t".join(printable(part) for part in (each.id, each.level, each.line, each.why, each.fix or "-"))
            )
        return
    for each in findings:
        line = Text(f"{each.id}  ", style="bold")
        line.append(f"{each.level}  ", style=_COLOURS[each.level])
        line.append(printable(each.line), style="default")
        print_line(console, line)
        print_line(console, f"     {printable(each.why)}")
        if each.fix is not None:
            print_line(console, f"     {printable(each.fix)}")


def remarks(reading: Reading, unloaded: str | None, *, values: bool) -> list[str]:
    """Return what the reader should know besides."""
    said = [f"{topic}: there is no such topic yet" for topic in reading.bounds.missing]
    if reading.foreign:
        said.append(f"{reading.foreign} record{_s(reading.foreign)} in there that no worker of ours wrote: left out")
    said += [f"{count} dead letter{_s(count)} of the app {app}: left out" for app, count in _sorted(reading.others)]
    if unloaded is not None and values:
        said.append(f"the app could not be loaded: {unloaded}")
    return said


def _sorted(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items())


__all__ = [
    "COUNTS",
    "JOBS",
    "LETTERS",
    "blocked_rows",
    "error_cell",
    "job_rows",
    "kind_rows",
    "letter_rows",
    "letter_screen",
    "print_findings",
    "print_line",
    "print_screen",
    "print_table",
    "printable",
    "remarks",
    "topic_sentence",
]
