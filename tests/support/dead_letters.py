"""Dead letters: found by the place of the record that they bury, and held against it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from tests.support.kafka_records import Lanes, Rec, own_headers
from tests.support.verdict import Kind, Verdict

PREFIX = "streamapp.dlq."
REQUIRED = ("id", "source.topic", "source.partition", "source.offset", "stage", "agent", "exception.type")


@dataclass(frozen=True, slots=True)
class Letter:
    rec: Rec
    fields: dict[str, str]
    """Header values by name without the prefix."""

    @property
    def stage(self) -> str:
        return self.fields.get("stage", "")


class Letters:
    """All dead letters, each to be claimed by the record that it buries. Checks headers, bytes and place on the way."""

    def __init__(self, lanes: Lanes, verdict: Verdict) -> None:
        self._verdict = verdict
        self._partitions = len(lanes)
        self._by_cause: dict[tuple[str, str], list[Letter]] = defaultdict(list)
        self._claimed: set[tuple[str, str]] = set()
        self.by_error: Counter[tuple[str, str]] = Counter()
        self.count = 0
        for lane in lanes.values():
            for rec in lane:
                self._file(rec)

    def claim(self, source: Rec, agent: str) -> Letter | None:
        """Return the dead letter of `source` by `agent`, if there is one; report what is wrong with it."""
        if not self._by_cause:
            return None
        cause = (source.place, agent)
        letters = self._by_cause.get(cause)
        if letters is None:
            return None
        if cause not in self._claimed:
            self._claimed.add(cause)
            for letter in letters:
                self._compare(letter, source, agent)
            for extra in letters[1:]:
                self._verdict.add(Kind.DOUBLED, f"{extra.rec.place}: {source.place} is dead-lettered again")
        return letters[0]

    def unclaimed(self) -> None:
        """Report the letters that no record accounts for."""
        for cause, letters in self._by_cause.items():
            if cause not in self._claimed:
                for letter in letters:
                    self._verdict.add(Kind.INVENTED, f"{letter.rec.place}: nothing at {cause[0]} for agent {cause[1]}")

    def _file(self, rec: Rec) -> None:
        fields: dict[str, str] = {}
        for name, content in rec.headers:
            if not name.startswith(PREFIX):
                continue
            short = name.removeprefix(PREFIX)
            if short in fields:
                self._verdict.add(Kind.DEAD_LETTER_HEADERS, f"{rec.place} has {name} twice")
            fields[short] = (content or b"").decode("utf-8", "replace")
        for short in REQUIRED:
            if not fields.get(short):
                self._verdict.add(Kind.DEAD_LETTER_HEADERS, f"{rec.place} lacks {PREFIX}{short}")
        self.count += 1
        self.by_error[fields.get("exception.type") or "unknown", fields.get("stage") or "unknown"] += 1
        self._by_cause[_cause(fields)].append(Letter(rec, fields))

    def _compare(self, letter: Letter, source: Rec, agent: str) -> None:
        rec, fields = letter.rec, letter.fields
        for short, due in _first_failure(source, agent).items():
            if short in fields and fields[short] != due:
                self._verdict.add(Kind.DEAD_LETTER_HEADERS, f"{rec.place}: {PREFIX}{short} is {fields[short]!r}, not {due!r}")
        if rec.partition != source.partition % self._partitions:
            self._verdict.add(Kind.WRONG_PARTITION, f"{rec.place} buries {source.place}")
        cut = fields.get("truncated", "")
        if rec.key != source.key and "key" not in cut:
            self._verdict.add(Kind.DEAD_LETTER_CHANGED, f"{rec.place}: key {rec.key!r}, was {source.key!r}")
        if rec.value != source.value and "value" not in cut:
            self._verdict.add(Kind.DEAD_LETTER_CHANGED, f"{rec.place}: value {rec.value!r:.80}, was {source.value!r:.80}")
        if own_headers(rec.headers) != own_headers(source.headers) and "user-headers" not in cut:
            self._verdict.add(
                Kind.HEADERS_CHANGED, f"{rec.place} has {own_headers(rec.headers)}, its source {own_headers(source.headers)}"
            )


def _cause(fields: dict[str, str]) -> tuple[str, str]:
    """Return (place, agent) of the record that a letter buries.

    `position` is where it was read this time; `id` names the first failure, which is another place after a replay.
    Whatever survives of the headers serves: a letter that lacks one is reported for that, not as lost.
    """
    identity, _, agent = fields.get("id", "").rpartition("@")
    named = [fields.get(f"source.{part}", "") for part in ("topic", "partition", "offset")]
    place = fields.get("position") or identity or "/".join(named)
    return place, fields.get("agent") or agent


def _first_failure(source: Rec, agent: str) -> dict[str, str]:
    """Return what the letter's headers have to say; a record that was replayed brings its first failure along."""
    due = {
        "id": f"{source.place}@{agent}",
        "agent": agent,
        "source.topic": source.topic,
        "source.partition": str(source.partition),
        "source.offset": str(source.offset),
    }
    for name, content in source.headers:
        short = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and short in due and short != "agent":
            due[short] = (content or b"").decode("utf-8", "replace")
    return due
