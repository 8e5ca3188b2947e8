"""Which dead letters are meant: filters that combine with AND, and ids with or without their agent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from streamapp.dlq.letters import Letter
from streamapp.errors import SettingInvalid
from streamapp.pipeline.dead_letter import parse_id
from streamapp.pipeline.resolution import SETTLED, Status

UNRESOLVED: Final = frozenset(Status) - SETTLED

_SPAN: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UNITS: Final = ("weeks", "days", "hours", "minutes", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Each that is given must hold; of one with several values, one of them."""

    ids: frozenset[str] = frozenset()
    """With or without `@agent`."""
    agents: frozenset[str] = frozenset()
    errors: frozenset[str] = frozenset()
    """Exception classes, with or without their module."""
    stages: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    fingerprints: frozenset[str] = frozenset()
    key: bytes | None = None
    partition: int | None = None
    """Of the source."""
    since: datetime | None = None
    """Of the last failure, and so is `until`."""
    until: datetime | None = None
    statuses: frozenset[Status] | None = None
    """None: the unresolved ones; where ids are given, all."""
    dlqs: tuple[str, ...] = ()
    """Empty: every dead-letter topic of the app."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked for: a verb that writes then wants `--all`."""
        return self == Filters()

    def matches(self, letter: Letter) -> bool:
        told = letter.letter
        statuses = self.statuses or (frozenset(Status) if self.ids else UNRESOLVED)
        return (
            letter.status in statuses
            and (not self.ids or letter.id in self.ids or letter.place in self.ids)
            and (not self.agents or told.agent in self.agents)
            and (not self.errors or told.exception_type in self.errors or short(told.exception_type) in self.errors)
            and (not self.stages or told.stage in self.stages)
            and (not self.reasons or told.reason in self.reasons)
            and (not self.fingerprints or told.fingerprint in self.fingerprints)
            and (self.key is None or letter.key == self.key)
            and (self.partition is None or told.source.partition == self.partition)
            and (not self.dlqs or letter.dlq.topic in self.dlqs)
            and self._is_in_time(letter.failed_at)
        )

    def _is_in_time(self, failed_at: float | None) -> bool:
        if self.since is None and self.until is None:
            return True
        if failed_at is None:
            return False
        return (self.since is None or failed_at >= self.since.timestamp()) and (
            self.until is None or failed_at < self.until.timestamp()
        )


def short(name: str) -> str:
    """Return a class without its module."""
    return name.rpartition(".")[2]


def parse_moment(text: str, now: datetime, option: str) -> datetime:
    """Return the moment that `2h`, `1d12h` (so long before `now`) or an RFC 3339 time means. Raises SettingInvalid."""
    span = _SPAN.fullmatch(text)
    moment: datetime | None = None
    with suppress(ValueError, OverflowError):
        if text and span is not None:
            return now - timedelta(**{unit: int(count) for unit, count in zip(_UNITS, span.groups(), strict=True) if count})
        moment = datetime.fromisoformat(text)
    if moment is None or moment.tzinfo is None:
        raise SettingInvalid(
            f"{option} {text}: must be a span before now (90s, 15m, 2h, 1d12h) or an RFC 3339 time (2026-11-23T06:00:00Z)"
        )
    return moment.astimezone(UTC)


def require_ids(texts: Iterable[str]) -> frozenset[str]:
    """Return ids as they were given. Raises SettingInvalid: one that is none."""
    ids = frozenset(texts)
    for text in ids:
        if parse_id(text if "@" in text else f"{text}@agent") is None:
            raise SettingInvalid(f"{text}: no dead letter's id: must be topic/partition/offset, with or without @agent")
    return ids


def resolve_ids(texts: Iterable[str], letters: Iterable[Letter]) -> tuple[list[Letter], list[str]]:
    """Return the letters that the ids name, in the ids' order, and the ids that name none.

    Raises SettingInvalid: an id without agent, of a record that failed several agents.
    """
    by_id: dict[str, list[Letter]] = {}
    for letter in letters:
        by_id.setdefault(letter.id, []).append(letter)
        by_id.setdefault(letter.place, []).append(letter)
    found: dict[str, Letter] = {}
    unknown: list[str] = []
    for text in texts:
        named = by_id.get(text, [])
        if len(named) > 1:
            raise SettingInvalid(f"{text}: several agents failed on this record: {' or '.join(letter.id for letter in named)}")
        if not named:
            unknown.append(text)
        for letter in named:
            found[letter.id] = letter
    return list(found.values()), unknown


__all__ = ["UNRESOLVED", "Filters", "parse_moment", "require_ids", "resolve_ids", "short"]
