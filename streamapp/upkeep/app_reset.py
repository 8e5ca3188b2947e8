"""An app set back to its beginning: what goes, what stays, and what nobody can bring back. Pure: the desk looks and acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from streamapp.records import Partition
from streamapp.upkeep.subject import Subject

FIRST_SEEN = "meta"
"""`<app id>-meta`: which partition counts were seen first."""


class Kind(StrEnum):
    """In the order in which they go: a store alone is restored; offsets and changelogs only make sense together."""

    STORE = "store"
    OFFSETS = "offsets"
    CHANGELOG = "changelog"
    INTERNAL = "internal topic"
    DEAD_LETTERS = "dead letters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One thing that goes."""

    kind: Kind
    name: str
    words: str

    def document(self) -> dict[str, object]:
        return {"kind": "removal", "what": str(self.kind), "name": self.name, "words": self.words}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """An app as it stands on its cluster and on this machine."""

    counts: Mapping[str, int]
    """Partitions of those of its topics that exist."""
    starts: Mapping[Partition, int]
    """Log start of each partition of its sources."""
    ends: Mapping[Partition, int]
    """High watermark of each partition of its changelogs, dead-letter and internal topics."""
    committed: Mapping[Partition, int]
    stores: Sequence[Path] = field(default=())
    """Directories with tables on this machine."""


def removals(subject: Subject, condition: Condition, *, dead_letters: bool) -> list[Removal]:
    """Return what a reset removes, in the order in which it does."""
    found = [
        Removal(kind=Kind.STORE, name=str(path), words="the tables of a worker of this machine") for path in condition.stores
    ]
    if condition.committed:
        total = len(condition.committed)
        found.append(Removal(kind=Kind.OFFSETS, name=subject.app_id, words=f"committed offsets of {total} partitions"))
    for kind, names in (
        (Kind.CHANGELOG, subject.changelogs),
        (Kind.INTERNAL, internal_topics(subject)),
        (Kind.DEAD_LETTERS, [*subject.dead_letters, subject.status_topic] if dead_letters else []),
    ):
        found += [
            Removal(kind=kind, name=name, words=f"{condition.counts[name]} partitions, {_records(condition, name)} offsets long")
            for name in names
            if name in condition.counts
        ]
    return found


def internal_topics(subject: Subject) -> list[str]:
    """Return the topics that the app alone writes and reads, changelogs and dead letters left out."""
    own = f"{subject.app_id}-"
    moved = [topic.name for topic in subject.topics if topic.follows is not None and topic.name.startswith(own)]
    return sorted({*moved, f"{own}{FIRST_SEEN}"})


def irrecoverable(subject: Subject, condition: Condition, going: Sequence[Removal], *, dead_letters: bool) -> list[str]:
    """Say what is lost with it, and what it does not take back."""
    told: list[str] = []
    kinds = {each.kind for each in going}
    if Kind.CHANGELOG in kinds:
        for table in subject.tables:
            if table.changelog not in condition.counts:
                continue
            cut = [where for where, start in sorted(condition.starts.items()) if where.topic in table.topics and start > 0]
            rest = (
                f"records before offset {condition.starts[cut[0]]} of {cut[0]} are gone, and with them what they made of it"
                if cut
                else ""
            )
            told.append(
                f"table {table.name}: its rows are not anywhere else; reading {', '.join(table.topics)} again rebuilds what the records "
                f"that are left give{f': {rest}' if rest else ''}"
            )
            if table.horizon is not None:
                told.append(f"table {table.name}: with its marks gone, what was processed counts as new")
    if Kind.OFFSETS in kinds or Kind.CHANGELOG in kinds:
        reads = {
            "earliest": "from the first record that is left",
            "latest": "from the end, nothing twice",
            "error": "nowhere: offsets reset says where",
        }
        begins = reads[subject.settings.topics.auto_offset_reset]
        told.append(f"the app begins {begins} (STREAMAPP_AUTO_OFFSET_RESET={subject.settings.topics.auto_offset_reset})")
        outputs = sorted(topic for topic, role in subject.roles.items() if role == "output")
        if outputs:
            told.append(f"what was sent stays: {', '.join(outputs)} get the results of what is read again a second time")
    if dead_letters:
        told.append("dead letters and what became of them are deleted: `streamapp dlq export` keeps them")
    elif any(name in condition.counts for name in subject.dead_letters):
        told.append(f"dead letters stay: {', '.join(subject.dead_letters)} (--dead-letters deletes them too)")
    told.append("stores on other machines are wiped when their workers start: their changelog is another one then")
    return told


def _records(condition: Condition, topic: str) -> int:
    return sum(end for where, end in condition.ends.items() if where.topic == topic)


__all__ = ["Condition", "Kind", "Removal", "internal_topics", "irrecoverable", "removals"]
