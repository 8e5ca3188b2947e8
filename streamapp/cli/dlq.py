"""`streamapp dlq`: dead letters listed, counted, shown, exported and checked. These verbs read only; they join no group.

What else the group has sends them again or settles them.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import click

from streamapp.cli.dlq_options import filter_options, inspector_of, scope_options, subject_here
from streamapp.cli.scope import EXIT_FINDINGS, EXIT_NOTHING, EXIT_REFUSED, Scope
from streamapp.cli.verify import ends_with_one_line
from streamapp.cli.verify_screen import Progress
from streamapp.errors import SettingInvalid

if TYPE_CHECKING:
    from streamapp.dlq.filters import Filters
    from streamapp.dlq.letters import Bounds, Letter, Reading
    from streamapp.dlq.statuses import Statuses
    from streamapp.dlq.subject import Subject
    from streamapp.ports import LogReader

FOLLOW_EVERY: Final = 1.0
"""Seconds between two looks of `tail -f`."""
LAST: Final = 10
"""Letters that `tail` begins with."""


@click.group("dlq")
def dlq_group() -> None:
    """Dead letters: look at them, send them again, settle them."""


@dataclass(slots=True)
class Desk:
    """What one command looks at."""

    subject: Subject
    reader: LogReader
    bounds: Bounds
    statuses: Statuses
    scope: Scope
    now: float

    def read(self, wants: Callable[[Letter], bool], *, quiet: bool = False) -> Reading:
        """Return the letters within the bounds that are wanted, with progress on stderr."""
        letters = _module("letters")
        with Progress() as progress:
            found: Reading = letters.read_letters(
                self.reader,
                self.bounds,
                app_id=self.subject.app_id,
                resolutions=self.statuses.resolutions,
                wants=wants,
                watcher=None if quiet else progress,
            )
        return found

    def kept(self, topics: Iterable[str]) -> Mapping[str, float | None]:
        found: Mapping[str, float | None] = _module("retention").retentions(self.reader, topics)
        return found

    def left(self, letter: Letter | None, kept: Mapping[str, float | None]) -> float | None:
        seconds: float | None = _module("retention").time_left(letter, kept, self.now)
        return seconds

    def say(self, reading: Reading, *, values: bool = False) -> None:
        """Tell on stderr what was left out of the reading, and why."""
        for remark in _screen().remarks(reading, self.subject.unloaded, values=values):
            click.echo(remark, err=True)


@contextmanager
def desk(scope: Scope, dlqs: Sequence[str] = ()) -> Iterator[Desk]:
    """Take the ends of the dead-letter topics, then the statuses. Raises SettingInvalid: a topic asked for that is not there."""
    subject = subject_here(scope)
    with inspector_of(subject, scope.timeout) as reader:
        topics = subject.dlqs(reader, dlqs)
        bounds: Bounds = _module("letters").bounds_of(reader, topics)
        if dlqs and bounds.missing:
            raise SettingInvalid(
                f"--dlq {bounds.missing[0]}: there is no such topic; the app's are: {', '.join(subject.dlqs(reader)) or 'none'}"
            )
        yield Desk(subject, reader, bounds, _module("statuses").read_statuses(reader, subject.app_id), scope, now())


def now() -> float:
    """Return seconds since 1970."""
    return time.time()


def _module(name: str) -> Any:
    # By name, and late: `streamapp broker` needs neither an app nor the engine, and must not load them.
    return importlib.import_module(f"streamapp.dlq.{name}")


def _screen() -> Any:
    return importlib.import_module("streamapp.cli.dlq_screen")


def _documents() -> Any:
    return importlib.import_module("streamapp.cli.dlq_documents")


def _console() -> Any:
    return importlib.import_module("rich.console").Console()


def _say(document: Mapping[str, object]) -> None:
    click.echo(json.dumps(document))


# --- list, tail, stats


@dlq_group.command("list")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="So many at most.")
@click.option(
    "--sort",
    "sort",
    type=click.Choice(("age", "offset")),
    default="age",
    show_default=True,
    help="The oldest first, or by source.",
)
@click.option("--blocked", is_flag=True, help="The keys whose records wait for a dead letter (on_error=block_key).")
@ends_with_one_line
@scope_options
@filter_options
def list_letters(scope: Scope, filters: Filters, limit: int, sort: str, *, blocked: bool) -> None:
    """List dead letters, one line each; by default those that are unresolved.

    Exits 0, or 4 when nothing matches.
    """
    with desk(scope, filters.dlqs) as at:
        if blocked:
            _list_blocked(at, filters, limit)
            return
        reading = at.read(filters.matches)
        kept = at.kept(at.bounds.topics)
        letters = reading.letters
        if sort == "offset":
            letters = sorted(letters, key=lambda letter: (letter.letter.source, letter.letter.agent))
        documents, screen, console = _documents(), _screen(), _console()
        if scope.as_json:
            for topic, totals in reading.totals.items():
                _say(documents.topic_document(topic, totals, at.left(totals.dying, kept), at.now))
            for letter in letters[:limit]:
                _say(documents.letter_document(letter, at.left(letter, kept), at.now, hidden=scope.hidden))
        else:
            if console.is_terminal:
                for topic, totals in reading.totals.items():
                    screen.print_line(console, screen.topic_sentence(topic, totals, at.left(totals.dying, kept), at.now))
            if letters:
                screen.print_table(console, screen.LETTERS, screen.letter_rows(letters[:limit], at.now, hidden=scope.hidden))
            if len(letters) > limit:
                click.echo(f"{limit} of {len(letters)} shown; --limit {len(letters)} shows all", err=not console.is_terminal)
        at.say(reading)
        _require_some(letters)


def _list_blocked(at: Desk, filters: Filters, limit: int) -> None:
    agents = list(at.subject.agents) if at.subject.unloaded is None else None
    rows = [
        row
        for row in _module("blocked").read_blocked(at.reader, at.subject.app_id, agents)
        if (not filters.agents or row.agent in filters.agents)
        and (filters.key is None or row.key == filters.key)
        and (filters.partition is None or row.partition == filters.partition)
    ]
    if at.scope.as_json:
        for row in rows[:limit]:
            _say(_documents().blocked_document(row, at.now, hidden=at.scope.hidden))
    elif rows:
        screen = _screen()
        headings = ("KEY", "HELD", "AGE", "HEAD", "AGENT", "SOURCE")
        screen.print_table(_console(), headings, screen.blocked_rows(rows[:limit], at.now, hidden=at.scope.hidden))
    _require_some(rows)


def _require_some(found: Sequence[object]) -> None:
    if not found:
        click.echo("nothing matched", err=True)
        sys.exit(EXIT_NOTHING)


@dlq_group.command("tail")
@click.option("-f", "--follow", is_flag=True, help="Go on as they come, until interrupted.")
@ends_with_one_line
@scope_options
@filter_options
def tail(scope: Scope, filters: Filters, *, follow: bool) -> None:
    """Show the last 10 dead letters; with -f also those that come.

    Exits 0, or 4 when nothing matches and nothing is waited for.
    """
    with desk(scope, filters.dlqs) as at:
        reading = at.read(filters.matches)
        letters = sorted(reading.letters, key=lambda letter: (letter.timestamp or 0, letter.dlq))[-LAST:]
        _print_letters(at, letters, headings=True)
        at.say(reading)
        if not follow:
            _require_some(letters)
            return
        for come in follow_letters(at, filters):
            _print_letters(at, come, headings=False)


def follow_letters(at: Desk, filters: Filters, *, wait: Callable[[float], None] = time.sleep) -> Iterator[list[Letter]]:
    """Yield the letters that come behind the bounds, as they come."""
    letters, statuses = _module("letters"), _module("statuses")
    while True:
        wait(FOLLOW_EVERY)
        later: Bounds = letters.bounds_of(at.reader, at.subject.dlqs(at.reader, filters.dlqs))
        ends = at.bounds.ends
        news = {where: (max(start, ends.get(where, start)), end) for where, (start, end) in later.ranges.items()}
        at.bounds = replace(later, ranges=news)
        statuses.read_on(at.reader, at.subject.app_id, at.statuses)
        at.now = now()
        reading = at.read(filters.matches, quiet=True)
        if reading.letters:
            yield sorted(reading.letters, key=lambda letter: (letter.timestamp or 0, letter.dlq))


def _print_letters(at: Desk, letters: Sequence[Letter], *, headings: bool) -> None:
    screen, console = _screen(), _console()
    if at.scope.as_json:
        kept = at.kept({letter.dlq.topic for letter in letters})
        for letter in letters:
            _say(_documents().letter_document(letter, at.left(letter, kept), at.now, hidden=at.scope.hidden))
    elif letters:
        rows = screen.letter_rows(letters, at.now, hidden=at.scope.hidden)
        screen.print_table(console, screen.LETTERS, rows, headings=headings)
    sys.stdout.flush()


@dlq_group.command("stats")
@click.option("--by", "by", metavar="error,agent,hour", default="fingerprint", show_default=True, help="What to count by.")
@ends_with_one_line
@scope_options
@filter_options
def stats(scope: Scope, filters: Filters, by: str) -> None:
    """Count dead letters by kind, resolved ones included unless --status says otherwise.

    Exits 0, or 4 when nothing matches.
    """
    counting, resolution = _module("stats"), importlib.import_module("streamapp.pipeline.resolution")
    names = counting.parse_by(by)
    if filters.statuses is None:
        filters = replace(filters, statuses=frozenset(resolution.Status))
    with desk(scope, filters.dlqs) as at:
        reading = at.read(filters.matches)
        kept = at.kept(at.bounds.topics)
        kinds = counting.count(reading.letters, names)
        lefts = [at.left(kind.dying, kept) for kind in kinds]
        screen, console, documents = _screen(), _console(), _documents()
        if scope.as_json:
            for kind, left in zip(kinds, lefts, strict=True):
                _say(documents.kind_document(kind, left))
        else:
            if console.is_terminal:
                for topic, totals in reading.totals.items():
                    screen.print_line(console, screen.topic_sentence(topic, totals, at.left(totals.dying, kept), at.now))
            if kinds:
                headings = (*(name.upper() for name in names), *screen.COUNTS)
                screen.print_table(console, headings, screen.kind_rows(kinds, lefts, at.now))
        at.say(reading)
        _require_some(kinds)


# --- show, export


@dlq_group.command("show")
@click.argument("wanted", metavar="ID")
@click.option("--raw", is_flag=True, help="Key and value as they are, not decoded: as hex, with --value-only as bytes.")
@click.option("--value-only", is_flag=True, help="The value and nothing else.")
@click.option("--stack", is_flag=True, help="The whole stack trace.")
@ends_with_one_line
@scope_options
def show(scope: Scope, wanted: str, *, raw: bool, value_only: bool, stack: bool) -> None:
    """Show all that is known of one dead letter; the last line is the command that sends it again.

    ID is topic/partition/offset of the first failure, with @agent where several agents failed on that record. Exits 0; 4 when there is
    no such dead letter; 5 when binary data would go to a terminal.
    """
    filtering = _module("filters")
    ids = filtering.require_ids([wanted])
    if value_only and scope.hidden:
        raise click.UsageError("--value-only and --no-values do not go together")
    with desk(scope) as at:
        reading = at.read(filtering.Filters(ids=ids).matches)
        found, _ = filtering.resolve_ids(ids, reading.letters)
        whole = list(_module("letters").read_whole(at.reader, found))
        if not whole:
            at.say(reading)
            click.echo(f"{wanted}: no such dead letter", err=True)
            sys.exit(EXIT_NOTHING)
        (letter,) = whole
        shown = _module("values").shown_value(at.subject, letter)
        if value_only:
            _write_value(letter, shown, raw=raw)
            return
        row = letter.resolution
        job = None if row is None or row.job is None else at.statuses.jobs.get(row.job)
        left = at.left(letter, at.kept([letter.dlq.topic]))
        if scope.as_json:
            _say(_documents().whole_document(letter, shown, left, at.now, job, hidden=scope.hidden))
            return
        screen = _screen()
        lines = screen.letter_screen(
            letter,
            shown,
            job,
            next_command=_replay_command(scope, wanted, letter),
            left=left,
            hidden=scope.hidden,
            stack=stack,
            raw=raw,
        )
        screen.print_screen(_console(), lines)


def _replay_command(scope: Scope, wanted: str, letter: Letter) -> str:
    app = f" -A {scope.app_name}" if scope.app_name else ""
    force = " --force" if letter.status == "parked" else ""
    return f"streamapp dlq replay{app} {wanted}{force} --execute"


def _write_value(letter: Letter, shown: Any, *, raw: bool) -> None:
    if letter.value is None:
        click.echo(f"{letter.id}: no value: {shown.form}", err=True)
        sys.exit(EXIT_FINDINGS)
    if not raw:
        click.echo(shown.text)
        return
    out = sys.stdout
    if _is_terminal() and not _is_text(letter.value):
        click.echo(f"refused: {len(letter.value)} bytes of binary data to a terminal; write them to a file", err=True)
        sys.exit(EXIT_REFUSED)
    out.buffer.write(letter.value)
    out.buffer.flush()


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _is_text(raw: bytes) -> bool:
    try:
        return all(letter.isprintable() or letter in "\n\t" for letter in raw.decode())
    except UnicodeDecodeError:
        return False


@dlq_group.command("export")
@ends_with_one_line
@scope_options
@filter_options
def export(scope: Scope, filters: Filters) -> None:
    """Write dead letters as one JSON object per line: bytes in base64, and as text where they are text. `import` reads it.

    Exits 0, or 4 when nothing matches.
    """
    if scope.hidden:
        raise click.UsageError("an export holds the values: --no-values leaves nothing to import")
    letters, values, transfer = _module("letters"), _module("values"), _module("transfer")
    with desk(scope, filters.dlqs) as at:
        reading = at.read(filters.matches)
        written = 0
        for letter in letters.read_whole(at.reader, reading.letters):
            _say(transfer.exported(letter, values.shown_value(at.subject, letter)))
            written += 1
        at.say(reading, values=True)
        if written < len(reading.letters):
            click.echo(f"{len(reading.letters) - written} were deleted by retention meanwhile", err=True)
            sys.exit(EXIT_FINDINGS)
        _require_some(reading.letters)


# --- jobs, check


@dlq_group.command("jobs")
@ends_with_one_line
@scope_options
def jobs(scope: Scope) -> None:
    """List replay jobs, the latest first: who, what, and how far."""
    subject = subject_here(scope)
    with inspector_of(subject, scope.timeout) as reader:
        statuses: Statuses = _module("statuses").read_statuses(reader, subject.app_id)
    rows = sorted(statuses.jobs.items(), key=lambda item: item[1].started, reverse=True)
    if scope.as_json:
        for name, job in rows:
            _say(_documents().job_document(name, job))
        return
    screen = _screen()
    if rows:
        screen.print_table(_console(), screen.JOBS, screen.job_rows(rows, now()))
    else:
        click.echo("no replay jobs", err=True)


@dlq_group.command("check")
@click.option(
    "--fail-on",
    type=click.Choice(("error", "warning", "info")),
    default="error",
    show_default=True,
    help="The level from which on a finding makes the exit code 1.",
)
@ends_with_one_line
@scope_options
def check(scope: Scope, fail_on: str) -> None:
    """Check that dead letters can be written, are kept, and are looked after (D01 to D06).

    Exits 0, or 1 with findings of the level of --fail-on or above.
    """
    checks = _module("checks")
    with desk(scope) as at:
        reading = at.read(lambda letter: False)
        partitions = at.reader.partitions()
        there = {partition.topic for partition in partitions}
        sources = {source for topics in at.subject.dlq_sources.values() for source in topics}
        findings = checks.check(
            at.subject,
            checks.Cluster(
                partitions=partitions,
                configs=at.reader.topic_configs(sorted((sources | set(at.bounds.topics)) & there)),
                reading=reading,
                assigned=at.reader.assigned(at.subject.app_id),
                rights=checks.rights_on(at.subject, partitions, scope.timeout),
                now=at.now,
            ),
        )
        if scope.as_json:
            for finding in findings:
                _say(_documents().finding_document(finding))
        else:
            _screen().print_findings(_console(), findings)
            if not findings:
                click.echo(f"{at.subject.app_id}: D01 to D06, nothing found")
    counting = {"error": ("error",), "warning": ("error", "warning"), "info": ("error", "warning", "info")}[fail_on]
    if any(finding.level in counting for finding in findings):
        sys.exit(EXIT_FINDINGS)


__all__ = ["Desk", "desk", "dlq_group", "follow_letters"]
