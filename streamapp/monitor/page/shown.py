"""What a request asks of the page, and what panels have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from streamapp.monitor.page.kinds import Row
from streamapp.monitor.page.markup import Child, Markup, tag
from streamapp.monitor.status import StatusDocument

RANGES: Final[Mapping[str, float]] = {"30m": 1800.0, "6h": 21_600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One view of the page, as its address says it."""

    only_lag: bool = False
    chart: str | None = None
    """`topic/partition`; None: the worst."""
    range: str = "30m"
    may_write: bool = False
    has_login: bool = False
    """Whether it was a login that opened the page: it can be closed again."""
    shows_values: bool = False
    poll: float = 5.0
    """Seconds between two looks of the script at the status document."""

    def address(self, **changed: str | None) -> str:
        """Return the page's own address with something else in it."""
        told = {
            "only": "lag" if self.only_lag else None,
            "chart": self.chart,
            "range": self.range if self.range != "30m" else None,
        }
        kept = {name: value for name, value in {**told, **changed}.items() if value is not None}
        return "?" + urlencode(kept, errors="replace") if kept else "/"


@dataclass(frozen=True, slots=True)
class Source:
    """The status document, as it is and as its JSON has it."""

    document: StatusDocument
    rows: dict[str, Any]
    long: StatusDocument | None = None
    """With the longer history, where the chart needs it."""

    @classmethod
    def of(cls, document: StatusDocument, long: StatusDocument | None = None) -> Source:
        return cls(document, msgspec.to_builtins(msgspec.structs.replace(document, partitions=_bare(document))), long)

    @property
    def now(self) -> float:
        return self.document.at

    def list(self, name: str) -> tuple[Row, ...]:
        found: tuple[Row, ...] = tuple(self.rows[name])
        return found


def _bare(document: StatusDocument) -> tuple[Any, ...]:
    """Return the partitions without their histories: pictures take those from the document itself."""
    return tuple(msgspec.structs.replace(each, history=None, marks=()) for each in document.partitions)


def section(name: str, title: str, about: Child, *children: Child) -> Markup:
    """Return a panel."""
    heading = tag("h2", title, id=f"{name}-title")
    intro = tag("p", about, class_="about") if about else None
    return tag("section", tag("header", heading, intro), children, id=name, aria_labelledby=f"{name}-title")


__all__ = ["RANGES", "Shown", "Source", "section"]
