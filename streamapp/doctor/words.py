"""How findings write figures and commands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

NAMED: Final = 5
"""Names that one line lists; of more it tells how many."""


def count(number: float) -> str:
    """Return a count as people read it: 950, 41 k, 4.1 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 10 * size or (number >= size > 1e3):
            return f"{number / size:.1f} {unit}" if number < 10 * size else f"{number / size:.0f} {unit}"
    return f"{number:.0f}"


def several(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def names(which: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    whole = list(which)
    more = len(whole) - NAMED
    return ", ".join(whole[:NAMED]) + (f" and {more} more" if more > 0 else "")


def shown_key(key: bytes, *, plain: bool) -> str:
    """Return a key as it may be shown: a hash, unless keys were asked for."""
    return repr(key.decode(errors="backslashreplace")) if plain else f"sha256:{sha256(key).hexdigest()[:12]}"


# --- commands, each to be run as it stands


def alter_topic(broker: str, topic: str, **config: object) -> str:
    """Return the line that sets a topic's settings; their dots are written as underscores."""
    given = ",".join(f"{name.replace('_', '.')}={value}" for name, value in config.items())
    return f"kafka-configs.sh --bootstrap-server {broker} --alter --topic {topic} --add-config {given}"


def create_topic(broker: str, topic: str, partitions: int, **config: object) -> str:
    given = " ".join(f"--config {name.replace('_', '.')}={value}" for name, value in config.items())
    return f"kafka-topics.sh --bootstrap-server {broker} --create --topic {topic} --partitions {partitions} {given}".rstrip()


def widen_topic(broker: str, topic: str, partitions: int) -> str:
    return f"kafka-topics.sh --bootstrap-server {broker} --alter --topic {topic} --partitions {partitions}"


def allow(broker: str, topic: str, operations: Sequence[str], user: str) -> str:
    given = " ".join(f"--operation {operation}" for operation in operations)
    return f"kafka-acls.sh --bootstrap-server {broker} --add --allow-principal User:{user} {given} --topic {topic}"


def replicate(broker: str, topic: str, partitions: int, replicas: int, brokers: Sequence[int]) -> str:
    """Return the line that gives a topic so many replicas, spread round robin over these brokers."""
    plan = {
        "version": 1,
        "partitions": [
            {"topic": topic, "partition": each, "replicas": [brokers[(each + step) % len(brokers)] for step in range(replicas)]}
            for each in range(partitions)
        ],
    }
    return (
        f"echo '{json.dumps(plan, separators=(',', ':'))}' > more-replicas.json && kafka-reassign-partitions.sh "
        f"--bootstrap-server {broker} --reassignment-json-file more-replicas.json --execute"
    )


__all__ = [
    "allow",
    "alter_topic",
    "count",
    "create_topic",
    "names",
    "replicate",
    "several",
    "shown_key",
    "widen_topic",
]
