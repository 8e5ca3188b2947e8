"""The writing commands of dead letters, run for the page: in a process of their own, with their previews, guards and exit codes.

Not on a thread of the worker: they need clients that are not for a worker's life (DESIGN rule 19), and the page is not to know another
way to write than the commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from streamapp.settings import process_environment

VERBS: Final = ("replay", "discard")
OPERATOR: Final = "page"
"""Who settled a dead letter, in its row: the page knows a token, and no names."""
PREVIEW_FOR: Final = 120.0
"""Seconds that a preview may read."""
PLAN_FOR: Final = 900.0
"""Seconds in which a preview may be executed: later it tells of another day's letters."""
STOP_FOR: Final = 5.0
KEPT_JOBS: Final = 20
SAID_AT_MOST: Final = 64 * 1024

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{12}")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,249}/\d{1,9}/\d{1,19}(@[^\s@]{1,249})?")
_REASON_AT_MOST: Final = 500


class FormInvalid(Exception):
    """A field of the form means nothing; the text says which."""


def arguments(verb: str, form: Mapping[str, str], now: datetime) -> list[str]:
    """Return the command's arguments that a form means, up to `now`: letters that come later are none of its business.

    Raises FormInvalid.
    """
    fingerprint, dlq, ids = form.get("fingerprint", "").strip(), form.get("dlq", "").strip(), form.get("ids", "").split()
    if not fingerprint and not ids:
        raise FormInvalid("which ones? Give a fingerprint or ids")
    found = ["dlq", verb]
    if fingerprint:
        found.append(f"--fingerprint={_matched(_FINGERPRINT, fingerprint, 'fingerprint')}")
    if dlq:
        found.append(f"--dlq={_matched(_TOPIC, dlq, 'topic')}")
    if verb == "discard":
        reason = " ".join(form.get("reason", "").split())
        if not reason or len(reason) > _REASON_AT_MOST or not reason.isprintable():
            raise FormInvalid(f"reason: must say something, in at most {_REASON_AT_MOST} characters")
        found.append(f"--reason={reason}")
    else:
        found += [f"--{name}" for name in ("latest-per-key", "stale-ok") if form.get(name)]
        if form.get("to-source"):
            found.append("--to=source")
    found.append(f"--until={now.astimezone(UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')}")
    return found + (["--", *(_matched(_ID, each, "id") for each in ids)] if ids else [])


def _matched(pattern: re.Pattern[str], value: str, name: str) -> str:
    if not pattern.fullmatch(value):
        raise FormInvalid(f"{name} {value[:80]!r}: is none")
    return value


def executing(args: Sequence[str]) -> list[str]:
    """Return the arguments that do what these preview."""
    at = args.index("--") if "--" in args else len(args)
    return [*args[:at], "--execute", *args[at:]]


def own_command(argv: Sequence[str], executable: str) -> list[str] | None:
    """Return what this worker was started with up to its verb, `faust -A shop`: every verb works behind it. None: by no command."""
    for at, word in enumerate(argv):
        if word == "worker" and at > 1 and argv[at - 1] not in ("-A", "--app"):
            return [executable, *argv[1:at]]
    return None


def shown(args: Sequence[str]) -> str:
    """Return the command as one types it."""
    return "streamapp " + " ".join(each if re.fullmatch(r"[\w=./:@,%+-]+", each) else _quoted(each) for each in args)


def _quoted(word: str) -> str:
    escaped = word.replace("'", "'\\''")
    return f"'{escaped}'"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    text: str


@dataclass(slots=True)
class Job:
    """A command that writes, while it runs and afterwards."""

    number: int
    args: list[str]
    said: Said | None = None
    """None while it runs."""


def plan_of(args: Sequence[str], at: float) -> str:
    return json.dumps({"at": at, "args": list(args)}, separators=(",", ":"))


def args_of(plan: str, now: float) -> list[str]:
    """Return the arguments of a plan whose signature was checked. Raises FormInvalid: it is too old."""
    told = json.loads(plan)
    if now - told["at"] > PLAN_FOR:
        raise FormInvalid("that preview is old: look again")
    args: list[str] = told["args"]
    return args


@dataclass(slots=True)
class Commands:
    """Runs one command at a time. On the loop."""

    prefix: list[str] | None = field(default_factory=lambda: own_command(sys.orig_argv, sys.executable))
    """Whose verbs they are; None: pages cannot write."""
    jobs: dict[int, Job] = field(default_factory=dict)
    """The last few, by number."""
    _process: asyncio.subprocess.Process | None = None
    _task: asyncio.Task[None] | None = None
    _is_busy: bool = False

    @property
    def is_busy(self) -> bool:
        return self._is_busy

    async def preview(self, args: Sequence[str]) -> Said:
        """Return what the command says without `--execute`. Not while `is_busy`."""
        return await self._run(args, PREVIEW_FOR)

    def execute(self, args: Sequence[str]) -> Job:
        """Start the command with `--execute`; the same arguments again are the same job. Not while `is_busy`."""
        known = next((job for job in self.jobs.values() if job.args == list(args)), None)
        if known is not None:
            return known
        job = Job(max(self.jobs, default=0) + 1, list(args))
        self.jobs[job.number] = job
        for number in sorted(self.jobs)[:-KEPT_JOBS]:
            del self.jobs[number]
        self._is_busy = True
        self._task = asyncio.get_running_loop().create_task(self._finish(job), name=f"page job {job.number}")
        return job

    async def stop(self) -> None:
        """End what runs, as Ctrl-C does: a replay says how it is gone on with."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), STOP_FOR)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_FOR)

    # --- inside

    async def _finish(self, job: Job) -> None:
        job.said = await self._run(executing(job.args), None)

    async def _run(self, args: Sequence[str], within: float | None) -> Said:
        assert self.prefix is not None
        self._is_busy = True
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.prefix, *args,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
                env={**process_environment(), "NO_COLOR": "1", "LOGNAME": OPERATOR},
            )  # fmt: skip
            try:
                told, _ = await asyncio.wait_for(self._process.communicate(), within)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
                return Said(1, f"no answer within {within:g} s")
            return Said(self._process.returncode or 0, told[:SAID_AT_MOST].decode(errors="replace"))
        except OSError as failure:
            return Said(1, f"{self.prefix[0]}: {failure}")
        finally:
            self._process, self._is_busy = None, False


__all__ = [
    "VERBS",
    "Commands",
    "FormInvalid",
    "Job",
    "Said",
    "args_of",
    "arguments",
    "executing",
    "own_command",
    "plan_of",
    "shown",
]
