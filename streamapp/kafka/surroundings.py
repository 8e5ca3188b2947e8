"""What only an AdminClient can tell: how topics and broker are set, and who is in the group.

AdminClient is not for a worker's life (DESIGN rule 19): after a broker's restart it went on answering errors for minutes, and it crashed the
process while coordinators were loading. So a worker has `python -m streamapp.kafka.surroundings` ask, a process for one question: JSON in on
stdin, JSON out on stdout, nothing where nobody answered. What it cannot find out is null.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]  # re-exported without __all__

from streamapp.clock import Deadline
from streamapp.errors import StreamAppError
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka.admin import KafkaAdmin

CALL: Final = 5.0
"""Seconds for one request."""
LIFE: Final = 30
"""Seconds after which the process ends whatever it waits for: nobody waits for it any more."""
TOPIC_SETTINGS: Final = ("cleanup.policy", "retention.ms", "retention.bytes", "delete.retention.ms")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """`client`: options of the AdminClient; with its secrets, so the question goes through a file that nobody else can open."""

    client: dict[str, str | int | float | bool]
    topics: tuple[str, ...]
    group: str


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One consumer of the group. A worker has one per source set."""

    client_id: str
    host: str
    partitions: int


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """The answer."""

    topics: dict[str, dict[str, str]]
    """Of each topic that may be seen, those of `TOPIC_SETTINGS` that it has."""
    offsets_retention: float | None
    """Seconds after which the offsets of an empty group expire."""
    members: tuple[Member, ...] | None


def main() -> int:
    """Answer the question on stdin. Returns 1 where nobody answered."""
    signal.alarm(LIFE)
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    try:
        answer = ask(question)
    except (StreamAppError, KafkaException, TimeoutError):
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


def ask(question: Question) -> Surroundings:
    """Return what is known around the app. Raises BrokerUnreachable."""
    configs = KafkaAdmin(question.client).topic_configs(question.topics, Deadline.after(2 * CALL))
    client = AdminClient(dict(question.client), logger=logging.getLogger(CLIENT_LOGGER))
    return Surroundings(
        topics={topic: {name: config[name] for name in TOPIC_SETTINGS if name in config} for topic, config in configs.items()},
        offsets_retention=_offsets_retention(client),
        members=_members(client, question.group),
    )


def _offsets_retention(client: AdminClient) -> float | None:
    try:
        brokers = client.list_topics(timeout=CALL).brokers
        resource = ConfigResource(ResourceType.BROKER, str(next(iter(brokers))))
        entries: Mapping[str, Any] = client.describe_configs([resource], request_timeout=CALL)[resource].result(CALL + 1)
        return int(entries["offsets.retention.minutes"].value) * 60.0
    except (KafkaException, TimeoutError, KeyError, StopIteration, TypeError, ValueError):
        return None  # a right that is missing, or a broker that does not tell


def _members(client: AdminClient, group: str) -> tuple[Member, ...] | None:
    try:
        described = client.describe_consumer_groups([group], request_timeout=CALL)[group].result(CALL + 1)
    except (KafkaException, TimeoutError):
        return None
    return tuple(
        Member(
            client_id=member.client_id,
            host=member.host,
            partitions=0 if member.assignment is None else len(member.assignment.topic_partitions),
        )
        for member in described.members
    )


if __name__ == "__main__":
    raise SystemExit(main())


__all__ = ["LIFE", "Member", "Question", "Surroundings", "ask", "main"]
