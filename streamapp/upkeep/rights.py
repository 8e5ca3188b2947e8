"""The rights that an app needs on a cluster with ACLs: rows, and the lines of kafka-acls.sh that grant them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from streamapp.upkeep.subject import Subject

NOBODY = "User:NAME"
"""The principal, where the settings name none."""


class Resource(StrEnum):
    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """What one resource, or all whose names begin so, must allow."""

    resource: Resource
    name: str
    operations: tuple[str, ...]
    """As kafka-acls.sh calls them; Read and Write imply Describe."""
    words: str
    prefixed: bool = False

    def document(self) -> dict[str, object]:
        return {
            "kind": "right",
            "resource": str(self.resource),
            "name": self.name,
            "pattern": "prefixed" if self.prefixed else "literal",
            "operations": list(self.operations),
            "words": self.words,
        }


def rights_of(subject: Subject) -> list[Right]:
    """Return what a worker of the app needs, and no more."""
    settings, own = subject.settings, f"{subject.app_id}-"
    creates = ("Create",) if settings.topics.topic_allow_declare else ()
    found = [
        Right(
            resource=Resource.GROUP,
            name=subject.app_id,
            operations=("Read",),
            words="joins the group, reads and commits its offsets",
        )
    ]
    if settings.transaction.exactly_once:
        words = "one transaction for all that a worker does"
        found.append(Right(resource=Resource.TRANSACTIONAL_ID, name=own, operations=("Write",), words=words, prefixed=True))
    words = "changelogs, what became of dead letters, repartition topics"
    operations = ("Read", "Write", *creates, "DescribeConfigs")
    found.append(Right(resource=Resource.TOPIC, name=own, operations=operations, words=words, prefixed=True))
    declared = {topic.name for topic in subject.topics}
    for topic, role in sorted(subject.roles.items() | {(each, "dead letters") for each in subject.dead_letters}):
        if topic.startswith(own) or (topic in subject.dead_letters and role != "dead letters"):
            continue
        makes = creates if topic in declared or role == "dead letters" else ()
        reads = () if role == "output" else ("Read",)
        found.append(
            Right(
                resource=Resource.TOPIC,
                name=topic,
                operations=(*reads, "Write", *makes, "DescribeConfigs"),
                words={
                    "source": "is read; agents may send to it, and `dlq replay` does",
                    "output": "is sent to",
                    "dead letters": "dead letters are written, counted and replayed",
                    "changelog": "a table's changelog",
                }[role],
            )
        )
    return found


def principal_of(subject: Subject) -> str:
    name = subject.settings.broker.sasl_username
    return NOBODY if name is None else f"User:{name}"


def lines(rights: Sequence[Right], broker: str, principal: str) -> list[str]:
    """Return the commands that grant them."""
    return [
        " ".join(
            (
                "kafka-acls.sh --bootstrap-server", broker, "--add --allow-principal", shlex.quote(principal),
                *(f"--operation {operation}" for operation in right.operations),
                f"--{right.resource} {shlex.quote(right.name)}",
                *(["--resource-pattern-type prefixed"] if right.prefixed else []),
            )
        )
        for right in rights
    ]  # fmt: skip


__all__ = ["Resource", "Right", "lines", "principal_of", "rights_of"]
