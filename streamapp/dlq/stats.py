"""Dead letters counted by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from streamapp.dlq.filters import short
from streamapp.dlq.letters import Letter
from streamapp.errors import SettingInvalid

HOUR: Final = 3600.0


def _hour(letter: Letter) -> str:
    failed = letter.failed_at
    return "-" if failed is None else datetime.fromtimestamp(failed, UTC).strftime("%Y-%m-%dT%HZ")


BY: Final[Mapping[str, Callable[[Letter], str]]] = {
    "fingerprint": lambda letter: letter.letter.fingerprint,
    "error": lambda letter: short(letter.letter.exception_type),
    "agent": lambda letter: letter.letter.agent,
    "stage": lambda letter: letter.letter.stage,
    "reason": lambda letter: letter.letter.reason,
    "hour": _hour,
    "status": lambda letter: str(letter.status),
    "dlq": lambda letter: letter.dlq.topic,
    "version": lambda letter: letter.letter.version,
}
"""What may be counted by. The hour is that of the last failure."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The dead letters that agree in all that was counted by."""

    by: Mapping[str, str]
    count: int
    unresolved: int
    first: float | None
    """Seconds since 1970 of the first failure among them."""
    last: float | None
    dying: Letter | None
    """The unresolved one that retention takes first."""
    example: Letter
    """The latest."""

    @property
    def per_hour(self) -> float | None:
        """Between the first and the last; unknown of one, or of several at once."""
        if self.first is None or self.last is None or self.count < 2 or self.last <= self.first:
            return None
        return (self.count - 1) / (self.last - self.first) * HOUR


def parse_by(text: str) -> tuple[str, ...]:
    """Return what `--by` names. Raises SettingInvalid."""
    names = tuple(dict.fromkeys(each.strip() for each in text.split(",")))
    for name in names:
        if name not in BY:
            raise SettingInvalid(f"--by {text}: must be {', '.join(BY)}, or several of them with commas")
    return names


def count(letters: Iterable[Letter], by: Sequence[str]) -> list[Kind]:
    """Return the kinds, the most frequent first; where the hour is counted by, in its order."""
    groups: dict[tuple[str, ...], list[Letter]] = {}
    for letter in letters:
        groups.setdefault(tuple(BY[name](letter) for name in by), []).append(letter)
    kinds = [_kind(dict(zip(by, names, strict=True)), group) for names, group in groups.items()]
    if "hour" in by:
        return sorted(kinds, key=lambda kind: (kind.by["hour"], -kind.count, *kind.by.values()))
    return sorted(kinds, key=lambda kind: (-kind.count, *kind.by.values()))


def _kind(by: Mapping[str, str], group: Sequence[Letter]) -> Kind:
    firsts = [moment for letter in group if (moment := letter.first_failed_at) is not None]
    lasts = [moment for letter in group if (moment := letter.failed_at) is not None]
    unresolved = [letter for letter in group if letter.is_unresolved]
    return Kind(
        by=by,
        count=len(group),
        unresolved=len(unresolved),
        first=min(firsts, default=None),
        last=max(lasts, default=None),
        dying=min(unresolved, key=lambda letter: letter.timestamp or 0, default=None),
        example=max(group, key=lambda letter: letter.failed_at or 0.0),
    )


__all__ = ["BY", "Kind", "count", "parse_by"]
