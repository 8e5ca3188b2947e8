"""Which table partition a store belongs to: written into it, compared at each open. And the formats of stores and changelogs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from streamapp.errors import ChangelogTooNew, StoreForeign

FORMAT = 1
"""Version of what a store holds: its key spaces, its metadata, and the rows, which are those of the changelog.

Raised when an older reader would misread a newer store, so also with CHANGELOG_FORMAT. A store of another format is rebuilt.
"""

CHANGELOG_FORMAT = 1
"""Version of what a changelog's records hold.

Format 1 says nothing of itself, so it costs nothing. A later one says so by a format record (see kafka/changelog.py) in each
partition, in the transaction of its first record there; whoever knows less stops before that record and never reads past it.
"""


def require_known(changelog: object, written: int) -> None:
    """Raise ChangelogTooNew unless this version can read `changelog`, a part of which is `written` in that format."""
    if written > CHANGELOG_FORMAT:
        raise ChangelogTooNew(
            f"{changelog} was written in format {written} by a newer streamapp, this one reads up to format {CHANGELOG_FORMAT}: "
            "run that version here too. Nothing was read past that place"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One table partition of one app, on one changelog topic."""

    app_id: str
    table: str
    partition: int
    changelog_id: str
    """The id Kafka gave the changelog topic: one deleted and made again has another, and other offsets."""

    def __str__(self) -> str:
        return f"{self.table}/{self.partition}"

    def encode(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}).encode()

    def check(self, stored: bytes) -> None:
        """Raise StoreForeign, naming each difference, unless `stored` is this identity."""
        wanted: dict[str, object] = {"format": FORMAT, **asdict(self)}
        try:
            found = json.loads(stored)
        except ValueError:
            raise StoreForeign(f"the store of {self} holds an identity that no version of streamapp wrote") from None
        if not isinstance(found, dict) or found != wanted:
            held = found if isinstance(found, dict) else {}
            differences = ", ".join(
                f"{name} {held.get(name)!r} for {wanted[name]!r}" for name in wanted if held.get(name) != wanted[name]
            )
            raise StoreForeign(f"the store of {self} belongs to another: {differences or 'unknown fields'}")
