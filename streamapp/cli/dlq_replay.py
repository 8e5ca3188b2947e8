"""`streamapp dlq replay` and `dlq import`: send dead letters again. Without --execute, say what would be sent."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streamapp.cli.dlq_options import filter_options, inspector_of, scope_options, subject_here
from streamapp.cli.dlq_writes import Rate, ends_by_guard, operator
from streamapp.cli.scope import EXIT_FINDINGS, EXIT_REFUSED, Scope
from streamapp.cli.verify import ends_with_one_line
from streamapp.cli.verify_screen import Progress

if TYPE_CHECKING:
    from streamapp.dlq.change import Change
    from streamapp.dlq.filters import Filters
    from streamapp.dlq.job import Pace, Result
    from streamapp.dlq.plan import Plan, Wish
    from streamapp.dlq.subject import Subject
    from streamapp.pipeline.resolution import Job

R = TypeVar("R")
ENDLESS = float("inf")


def replay_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add what `replay` and `import` have in common; the command gets them as `how`."""
    options = [
        click.option("--all", "everything", is_flag=True, help="Every unresolved one, where no id and no filter is given."),
        click.option("--execute", is_flag=True, help="Send. Without it: say what would be sent."),
        click.option("--to", "to", metavar="source|topic:NAME", default=None, help="Where to.  [default: source]"),
        click.option(
            "--rate", type=Rate(), default="100/s", show_default=True, metavar="N/s", help="At most so many; none: no limit."
        ),
        click.option("--edit", is_flag=True, help="Change one value in $EDITOR."),
        click.option("--transform", metavar="MODULE:FUNCTION", help="Change each: key, value, headers in; the three, or None, out."),
        click.option("--latest-per-key", is_flag=True, help="Only the latest of each key; the others are discarded, superseded."),
        click.option("--stale-ok", is_flag=True, help="Also where a later record of the key was processed."),
        click.option("--force", is_flag=True, help="Also what is parked, settled, or under way."),
        click.option("--force-reprocess", "reprocess", is_flag=True, help="Also what is settled, with a new streamapp.dlq.epoch."),
        click.option("--stop-after-failures", "stop_after", type=click.IntRange(0), default=5, show_default=True, help="0: never."),
        click.option("--no-wait", is_flag=True, help="End when all are sent, without the workers' answers."),
        click.option("--quiet-after", type=click.FloatRange(0.1), default=60.0, hidden=True),
        click.option("--resume", metavar="JOB", help="Go on with a job that ended midway, as it began."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filter_options
@replay_options
@scope_options
@ends_with_one_line
@ends_by_guard
def replay(ids: tuple[str, ...], *, filters: Filters, scope: Scope, **how: Any) -> None:
    """Send dead letters again: those with these ids, or those that the filters mean.

    Exits 0 when all are resolved (or previewed), 1 when some failed again or were not answered, 2 for wrong options or settings, 3 when
    no broker answers, 4 when nothing matched, 5 when a guard refuses.
    """
    dlq = importlib.import_module("streamapp.dlq.filters")
    chosen: Filters = replace(filters, ids=dlq.require_ids(ids))
    _run(chosen, scope, how, file=None)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@filter_options
@replay_options
@scope_options
@ends_with_one_line
@ends_by_guard
def import_(file: Path, *, filters: Filters, scope: Scope, **how: Any) -> None:
    """Send the dead letters of a file of `dlq export` again, with the key and the value that the file has."""
    _run(filters, scope, how, file=file)


def _run(filters: Filters, scope: Scope, how: dict[str, Any], *, file: Path | None) -> None:
    plans = importlib.import_module("streamapp.dlq.plan")
    jobs = importlib.import_module("streamapp.dlq.job")
    statuses = importlib.import_module("streamapp.dlq.statuses")
    clock = importlib.import_module("streamapp.clock").SystemClock()
    groups_on = importlib.import_module("streamapp.kafka.groups").groups_on
    _require_usage(filters, how, file)
    subject = subject_here(scope, needs_agents=True)
    with inspector_of(subject, scope.timeout) as inspector, Progress() as progress:
        name, resumed = None, None
        if how["resume"] is not None:
            name, resumed = _job(statuses.read_statuses(inspector, subject.app_id).jobs, how["resume"])
            filters, how, file = _as_it_began(resumed, how)
        wish: Wish = _wish(filters, how, file, subject, name, resumed)
        planner = plans.Planner(
            inspector, subject, groups_on=lambda topics: groups_on(subject.settings, topics, scope.timeout), clock=clock,
            watcher=progress,
        )  # fmt: skip
        if how["execute"] and how["edit"]:
            _require_one(planner.plans(replace(wish, change=None)))
        found: list[Plan] = planner.plans(
            wish if how["execute"] or not how["edit"] else replace(wish, change=None), executes=how["execute"]
        )
        if how["edit"]:
            _require_one(found)
        rate = None if how["rate"] == ENDLESS else how["rate"]
        pace: Pace = jobs.Pace(rate=rate, stop_after=how["stop_after"], wait=not how["no_wait"], quiet=how["quiet_after"])
        if not how["execute"]:
            _preview(found, subject, pace, how, scope, file)
            return
        for plan in found:  # before the first of them sends
            plan.require_allowed(stale_ok=wish.stale_ok, is_target_named=wish.is_target_named)
        codes = [_execute(plan, wish, pace, how, scope, subject, name, resumed, file, clock, progress) for plan in found]
    sys.exit(max(codes))


def _require_usage(filters: Filters, how: Mapping[str, Any], file: Path | None) -> None:
    guards = importlib.import_module("streamapp.dlq.guards")
    copies = importlib.import_module("streamapp.dlq.copies")
    to = how["to"]
    if to == copies.AGENT:
        raise click.UsageError(guards.AGENT_TARGET)
    if to not in (None, copies.SOURCE) and not copies.topic_named(to):
        raise click.UsageError(f"--to {to}: must be source or topic:NAME")
    if sum((bool(how["edit"]), how["transform"] is not None, file is not None)) > 1:
        raise click.UsageError("--edit, --transform and import each say what is sent: one of them")
    if how["resume"] is not None:
        if not filters.is_empty or how["everything"]:
            raise click.UsageError("--resume goes on with what the job began: without ids, filters and --all")
    elif file is None and filters.is_empty and not how["everything"]:
        raise click.UsageError("which ones? Give ids, filters, or --all")
    elif how["everything"] and not filters.is_empty:
        raise click.UsageError("--all, or ids and filters: not both")


def _require_one(plans: list[Plan]) -> None:
    if sum(len(plan.matched) for plan in plans) != 1:
        raise click.UsageError(
            f"--edit opens one value: {sum(len(plan.matched) for plan in plans)} dead letters are meant; give one id"
        )


def _wish(
    filters: Filters, how: Mapping[str, Any], file: Path | None, subject: Subject, name: str | None, resumed: Job | None
) -> Wish:
    plans = importlib.import_module("streamapp.dlq.plan")
    copies = importlib.import_module("streamapp.dlq.copies")
    changes = importlib.import_module("streamapp.dlq.change")
    records = importlib.import_module("streamapp.records")
    change: Change | None = None
    if file is not None:
        contents = importlib.import_module("streamapp.dlq.exported").read_export(file)
        filters = replace(filters, ids=frozenset(contents))
        change = changes.FromFile(file, contents)
    elif how["transform"] is not None:
        change = changes.Transform(how["transform"])
    elif how["edit"]:
        change = changes.Edit()
    if change is not None:
        sources = {(agent.name, source.topic): source for agent in subject.agents.values() for source in agent.sources}
        change = changes.Validated(change, sources)
    ends = None
    if resumed is not None:
        ends = {records.Partition(resumed.dlq, int(number)): end for number, end in resumed.ends.items()}
        filters = replace(filters, dlqs=(resumed.dlq,))
    wish: Wish = plans.Wish(
        filters=filters,
        target=None if how["to"] is None else copies.topic_named(how["to"]),
        is_target_named=how["to"] is not None,
        latest_per_key=how["latest_per_key"],
        stale_ok=how["stale_ok"],
        force=how["force"],
        reprocess=how["reprocess"],
        change=change,
        job=name,
        ends=ends,
    )
    return wish


# --- a job that goes on


_KEPT = ("to", "transform", "latest_per_key", "stale_ok", "force", "reprocess", "stop_after", "no_wait")
"""What a job goes on with as it began; how fast may be said anew."""


def _job(jobs: Mapping[str, Job], named: str) -> tuple[str, Job]:
    plans = importlib.import_module("streamapp.dlq.plan")
    found = [name for name in jobs if name.startswith(named)]
    if len(found) != 1:
        raise plans.NothingMatched(
            f"--resume {named}: {'no job' if not found else f'{len(found)} jobs'} of that name: see dlq jobs"
        )
    if jobs[found[0]].state == "finished":
        raise plans.NothingMatched(f"--resume {named}: that job is finished")
    return found[0], jobs[found[0]]


def _as_it_began(job: Job, how: dict[str, Any]) -> tuple[Filters, dict[str, Any], Path | None]:
    msgspec = importlib.import_module("msgspec")
    exported = importlib.import_module("streamapp.dlq.exported")
    filters_type = importlib.import_module("streamapp.dlq.filters").Filters
    errors = importlib.import_module("streamapp.errors")
    filters: Filters = msgspec.json.decode(str(job.options["filters"]), type=filters_type)
    began = {**how, **{name: job.options[name] for name in _KEPT if name in job.options}, "edit": bool(job.options.get("edit"))}
    if "file" not in job.options:
        return filters, began, None
    file = Path(str(job.options["file"]))
    if not file.exists() or exported.digest_of(file) != job.options["digest"]:
        raise errors.SettingInvalid(f"--resume: {file} is not what it was when the job began")
    return filters, began, file


def _row(plan: Plan, wish: Wish, how: Mapping[str, Any], file: Path | None, resumed: Job | None) -> Job:
    msgspec = importlib.import_module("msgspec")
    resolution = importlib.import_module("streamapp.pipeline.resolution")
    now = datetime.now(UTC)
    if resumed is not None:
        again: Job = msgspec.structs.replace(resumed, state=resolution.JobState.RUNNING, reason=None, at=now)
        return again
    options: dict[str, str | int | float | bool] = {name: how[name] for name in _KEPT if how[name] is not None}
    options |= {"filters": msgspec.json.encode(wish.filters).decode(), "edit": how["edit"]}
    if file is not None:
        options |= {"file": str(file.resolve()), "digest": importlib.import_module("streamapp.dlq.exported").digest_of(file)}
    row: Job = resolution.Job(
        dlq=plan.dlq,
        state=resolution.JobState.RUNNING,
        operator=operator(),
        scope=_scope(wish.filters, file),
        target=str(plan.target),
        started=now,
        at=now,
        ends={str(where.number): end for where, end in plan.ends.items()},
        options=options,
        matched=len(plan.matched),
    )
    return row


def _scope(filters: Filters, file: Path | None) -> str:
    """Return the filters in short, for `dlq jobs`."""
    if file is not None:
        return f"import {file.name}"
    if filters.ids:
        return " ".join(sorted(filters.ids)[:3]) + (f" and {len(filters.ids) - 3} more" if len(filters.ids) > 3 else "")
    told = [
        f"--{name} {','.join(sorted(map(str, values)))}"
        for name, values in (
            ("agent", filters.agents), ("error", filters.errors), ("stage", filters.stages), ("reason", filters.reasons),
            ("fingerprint", filters.fingerprints), ("status", filters.statuses), ("dlq", filters.dlqs),
        )
        if values
    ]  # fmt: skip
    told += [
        f"--{name} {value.decode(errors='replace') if isinstance(value, bytes) else value}"
        for name, value in (
            ("key", filters.key),
            ("partition", filters.partition),
            ("since", filters.since),
            ("until", filters.until),
        )
        if value is not None
    ]
    return " ".join(told) or "--all"


# --- what is said


def _preview(plans: list[Plan], subject: Subject, pace: Pace, how: Mapping[str, Any], scope: Scope, file: Path | None) -> None:
    previews = importlib.import_module("streamapp.dlq.preview")
    if scope.as_json:
        for plan in plans:
            click.echo(json.dumps(previews.document(plan)))
        return
    click.echo("PREVIEW, nothing is sent; --execute sends.")
    change = how["transform"] or (None if file is None else f"import {file.name}")
    for plan in plans:
        for label, sentence in previews.lines(plan, subject, pace, change=change):
            click.echo(f"{label:<11} {sentence}")
    if how["edit"]:
        click.echo("change      $EDITOR opens with --execute; the agent's model reads the value before it is sent")


def _execute(
    plan: Plan,
    wish: Wish,
    pace: Pace,
    how: Mapping[str, Any],
    scope: Scope,
    subject: Subject,
    name: str | None,
    resumed: Job | None,
    file: Path | None,
    clock: Any,
    progress: Progress,
) -> int:
    writing = importlib.import_module("streamapp.dlq.writing")
    name = name or token_hex(4)
    writes = writing.Writing(subject.settings, timeout=scope.timeout, operator=operator(), clock=clock, watcher=progress)
    if not scope.as_json:
        click.echo(
            f"job {name}: {len(plan.send)} of {plan.dlq} to {plan.target}; dlq replay --resume {name} --execute goes on", err=True
        )
    row = _row(plan, wish, how, file, resumed)
    result: Result = writes.replay(plan, name, row, pace, epoch=name if wish.reprocess else None)
    _show(plan, result, name, scope)
    return exit_code(plan, result)


def exit_code(plan: Plan, result: Result) -> int:
    """Return 0 where every letter that was meant is settled, 130 where the job was interrupted, 5 where guards let none through, else 1."""
    if result.ended == "interrupted":
        return 130
    held = len(plan.sorted.parked) + len(plan.sorted.under_way) + len(plan.sorted.settled) + len(plan.refused)
    if held and not (result.sent or plan.earlier or plan.superseded or plan.left):
        return EXIT_REFUSED
    unsure = held or result.reopened or result.unanswered or result.refused or result.ended != "done"
    return EXIT_FINDINGS if unsure else 0


def _show(plan: Plan, result: Result, name: str, scope: Scope) -> None:
    refused = {**plan.refused, **result.refused}
    left = len(plan.send) - result.sent - len(result.refused) - len(result.overtaken)
    if scope.as_json:
        told = {
            "kind": "replay", "job": name, "dlq": plan.dlq, "target": str(plan.target), "ended": str(result.ended), "sent": result.sent,
            "resolved": result.resolved, "already_processed": result.already, "reopened": result.reopened, "parked": result.parked,
            "superseded": result.superseded, "overtaken": result.overtaken, "left": list(plan.left), "refused": refused,
            "unanswered": result.unanswered, "not_sent": left,
        }  # fmt: skip
        click.echo(json.dumps(told))
        return
    answered = f"{result.resolved} resolved" + (f" ({result.already} processed before)" if result.already else "")
    click.echo(f"job {name}: {result.sent} sent, {answered}, {len(result.reopened)} failed again")
    for count, words in (
        (result.parked, f"parked: replayed {_limit()} times; --force sends them"),
        (len(plan.sorted.under_way), "left out: sent before and not answered; --force sends them again"),
        (len(plan.sorted.settled), "left out: settled; --force or --force-reprocess sends them"),
        (result.superseded, "discarded: superseded"),
        (len(plan.left), "left where they are by the change"),
        (len(result.overtaken), "not sent: settled or sent by somebody else meanwhile"),
    ):
        if count:
            click.echo(f"  {count} {words}")
    for letter_id, why in refused.items():
        click.echo(f"  refused {letter_id}: {why}")
    for letter_id in result.reopened:
        click.echo(f"  failed again {letter_id}")
    if result.ended == "unanswered":
        where = ", ".join(map(str, result.silent))
        click.echo(f"  {len(result.unanswered)} without an answer, the last one long ago: no worker owns {where}")
    elif result.ended == "reopened":
        click.echo(f"  stopped, as {len(result.reopened)} failed again; {left} not sent")
    if left and result.ended != "done":
        click.echo(f"  dlq replay --resume {name} --execute goes on")


def _limit() -> int:
    limit: int = importlib.import_module("streamapp.dlq.guards").REPLAYS
    return limit


__all__ = ["exit_code", "import_", "replay"]
