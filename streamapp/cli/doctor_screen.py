"""What `streamapp doctor` shows: findings with their reason and fix on a terminal, tab-separated lines in a pipe, JSON objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from streamapp.monitor.finding import Finding

_MARKS: Final = {"error": "✗ error", "warning": "! warning", "information": "· info", "unchecked": "? could not check"}
_COLOURS: Final = {"error": "bold red", "warning": "yellow", "information": "cyan", "unchecked": "magenta"}
_NAMES: Final = {"error": "error", "warning": "warning", "information": "note", "unchecked": "not checked"}


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Print them: on a terminal three lines each, in a pipe one, with id, level, subject, line, why and fix."""
    if not console.is_terminal:
        for each in findings:
            row = (each.id, str(each.level), each.subject, each.line, each.why, each.fix or "-")
            console.file.write("\t".join(_printable(part) for part in row) + "\n")
        return
    for each in findings:
        line = Text()
        line.append(f"{each.id}  ", style="bold")
        line.append(f"{_MARKS[each.level]}  ", style=_COLOURS[each.level])
        line.append(_printable(each.line))
        _print(console, line)
        if each.level != "unchecked":
            _print(console, Text(f"     why  {_printable(each.why)}"))
        if each.fix:
            _print(console, Text(f"     fix  {_printable(each.fix)}"))


def summary(app_id: str, checks: int, findings: Sequence[Finding]) -> str:
    """Return the last line: how many of what."""
    told = []
    for level, name in _NAMES.items():
        number = sum(1 for each in findings if each.level == level)
        if number:
            told.append(f"{number} {name}{'' if number == 1 or level == 'unchecked' else 's'}")
    return f"{app_id}: {checks} checks, {', '.join(told) or 'nothing found'}"


def document(finding: Finding) -> dict[str, object]:
    """Return a finding for JSON."""
    return {
        "kind": "finding",
        "id": finding.id,
        "level": str(finding.level),
        "subject": finding.subject,
        "line": finding.line,
        "why": finding.why,
        "fix": finding.fix or None,
    }


def _print(console: Console, line: Text) -> None:
    # As it is: a command that was wrapped could not be copied.
    console.print(line, highlight=False, soft_wrap=True)


def _printable(text: str) -> str:
    """Return text without what a terminal would obey, or a line break at."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


__all__ = ["document", "print_findings", "summary"]
