"""What a check found: violations by class, and the counts that people want to see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """Classes of violation, each with what it means."""

    LOST = "an order was neither priced nor dead-lettered, and is no duplicate"
    DOUBLED = "something is there more often than it may be"
    INVENTED = "an output without an order that caused it"
    TORN = "one half of what belongs together is missing (priced order, demand, total)"
    MISORDERED = "a customer's orders changed their order"
    MISSUMMED = "a running count or sum is wrong"
    WRONG_CONTENT = "an output's fields do not follow from its order"
    WRONG_FIELDS = "an output is not a JSON object with exactly the fields agreed"
    WRONG_KEY = "an output's key is not the UTF-8 of its field"
    WRONG_PARTITION = "a record is not in the partition agreed"
    WRONG_TIMESTAMP = "an output does not have its source record's timestamp"
    HEADERS_CHANGED = "the source record's headers did not travel on as they were"
    WRONGLY_DEAD_LETTERED = "an order in the dead-letter topic that had to be priced or dropped"
    DEAD_LETTER_HEADERS = "a dead letter lacks a header, or one says something wrong"
    DEAD_LETTER_CHANGED = "a dead letter's key or value is not the source record's"
    UNPROCESSED = "an order at or above the group's committed offset"
    OPEN_TRANSACTION = "a last stable offset below the high watermark"
    CHANGELOG_MISMATCH = "a table rebuilt from its changelog differs from the outputs"
    NOT_A_PREFIX = "a concurrent read_committed reader saw something else than what is there now"


@dataclass(frozen=True, slots=True)
class Violation:
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind.name}: {self.what}"


@dataclass(slots=True)
class Counts:
    """What was in the topics. `None` in a list of tops never occurs; an empty one means that nothing was priced."""

    orders: int = 0
    """Records in `orders`."""
    unprocessed: int = 0
    """Of them, at or above the committed offset."""
    priced: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    dead_letters_by_error: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By exception type and stage, as the dead letters' headers name them."""
    demands: int = 0
    totals: int = 0
    top_customers: list[tuple[str, int, int]] = field(default_factory=list)
    """Customer, orders, cents; the highest sums first."""
    top_skus: list[tuple[str, int]] = field(default_factory=list)
    """Sku, quantity; the highest first."""


@dataclass(slots=True)
class Verdict:
    counts: Counts = field(default_factory=Counts)
    violations: list[Violation] = field(default_factory=list)

    def add(self, kind: Kind, what: str) -> None:
        self.violations.append(Violation(kind, what))

    def extend(self, violations: Iterable[Violation]) -> None:
        self.violations.extend(violations)

    @property
    def ok(self) -> bool:
        return not self.violations

    @property
    def kinds(self) -> set[Kind]:
        return {violation.kind for violation in self.violations}

    def by_kind(self) -> Counter[Kind]:
        return Counter(violation.kind for violation in self.violations)

    def report(self, examples: int = 5) -> str:
        """Return what was found as text: the counts, then each class with its first examples."""
        c = self.counts
        head = (
            f"orders {c.orders}, priced {c.priced}, duplicates {c.duplicates}, dead letters {c.dead_letters}, "
            f"demands {c.demands}, totals {c.totals}, unprocessed {c.unprocessed}"
        )
        lines = [head]
        for kind, number in self.by_kind().most_common():
            lines.append(f"{kind.name} x {number}: {kind.value}")
            found = [violation.what for violation in self.violations if violation.kind is kind]
            lines += [f"    {what}" for what in found[:examples]]
            if number > examples:
                lines.append(f"    ... and {number - examples} more")
        return "\n".join(lines)

    def require_ok(self) -> Verdict:
        """Return self, or raise AssertionError with the report."""
        if not self.ok:
            raise AssertionError(self.report())
        return self
