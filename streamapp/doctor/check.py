"""A check: its id and title, how bad it can get, when it runs, and the pure function from facts to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from streamapp.doctor.facts import CouldNotCheck, Facts
from streamapp.monitor.finding import Finding, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row of the catalogue (OPERATIONS §4)."""

    id: str
    title: str
    level: Level
    """The worst that it finds."""
    reads: tuple[str, ...]
    """The fields of Facts that it looks at, `now`, `app`, `at_start`, `worker` and `show_keys` aside."""
    look: Callable[[Facts], Iterator[Finding]]
    at_start: bool = False
    refuses: bool = False
    """At level ERROR the worker does not start."""


def examine(check: Check, facts: Facts) -> list[Finding]:
    """Return what the check finds; what it could not look at is a finding, too."""
    found: list[Finding] = []
    try:
        found.extend(check.look(facts))
    except CouldNotCheck as unread:
        found.append(unchecked(check.id, unread.subject, unread.reason))
    return found


def unchecked(id: str, subject: str, reason: str) -> Finding:  # noqa: A002 - the field's name
    return Finding(id, Level.UNCHECKED, subject, reason, "what could not be looked at is never a pass", "")


def error(id: str, subject: str, line: str, why: str, fix: str) -> Finding:  # noqa: A002
    return Finding(id, Level.ERROR, subject, line, why, fix)


def warning(id: str, subject: str, line: str, why: str, fix: str) -> Finding:  # noqa: A002
    return Finding(id, Level.WARNING, subject, line, why, fix)


def information(id: str, subject: str, line: str, why: str, fix: str) -> Finding:  # noqa: A002
    return Finding(id, Level.INFORMATION, subject, line, why, fix)


__all__ = ["Check", "error", "examine", "information", "unchecked", "warning"]
