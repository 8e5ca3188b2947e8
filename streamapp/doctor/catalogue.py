"""Every check, by id. Ids are stable; one that is retired is not used again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from streamapp.doctor import config, dead_letters, group, partitions, topics, transactions
from streamapp.doctor.check import Check, examine
from streamapp.doctor.facts import Facts
from streamapp.errors import SettingInvalid
from streamapp.monitor.finding import Finding, Level

CATALOGUE: Final = tuple(
    check for room in (group, partitions, topics, config, dead_letters, transactions) for check in room.CHECKS
)
AT_START: Final = tuple(check for check in CATALOGUE if check.at_start)

WORST_FIRST: Final = (Level.ERROR, Level.WARNING, Level.UNCHECKED, Level.INFORMATION)
"""What could not be checked may be anything, so it stands before what is only good to know."""


def chosen(only: Collection[str], ignored: Collection[str]) -> tuple[Check, ...]:
    """Return the checks that are asked for: ids, or the letter of a whole room. Raises SettingInvalid: there is no such check."""
    for option, given in (("--only", only), ("--ignore", ignored)):
        for each in given:
            if not any(_means(each, check) for check in CATALOGUE):
                known = ", ".join(check.id for check in CATALOGUE)
                raise SettingInvalid(f"{option} {each}: must be one of {known}, or a letter for all of that kind")
    return tuple(
        check
        for check in CATALOGUE
        if (not only or any(_means(each, check) for each in only)) and not any(_means(each, check) for each in ignored)
    )


def _means(word: str, check: Check) -> bool:
    return word.upper() in (check.id, check.id[0])


def findings(checks: Iterable[Check], facts: Facts) -> list[Finding]:
    """Return what the checks find, worst first, then by id."""
    found = [finding for check in checks for finding in examine(check, facts)]
    return sorted(found, key=lambda finding: (WORST_FIRST.index(finding.level), finding.id, finding.subject))


__all__ = ["AT_START", "CATALOGUE", "WORST_FIRST", "chosen", "findings"]
