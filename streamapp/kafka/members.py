"""Who is in a consumer group, and how long a broker keeps the offsets of one that is empty: asked by a command, with a client made for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]  # re-exported without __all__

from streamapp.kafka.failures import error_of
from streamapp.records import Partition


@dataclass(frozen=True, slots=True)
class Member:
    """One consumer of a group. A worker has one per source set."""

    consumer_id: str
    client_id: str
    instance_id: str | None
    host: str
    partitions: frozenset[Partition]

    def worker(self, app_id: str, sets: Iterable[str]) -> str | None:
        """Return the id of the worker it belongs to: its names are `<app id>-<worker id>-<source set>`. None: no worker of this app."""
        # Of a name too long for the broker, the instance id has a hash at its end; the client id never has.
        for name in (self.instance_id or "", self.client_id):
            for each in sets:
                begin, end = f"{app_id}-", f"-{each}"
                if name.startswith(begin) and name.endswith(end) and len(name) > len(begin) + len(end):
                    return name[len(begin) : -len(end)]
        return None


@dataclass(frozen=True, slots=True)
class Membership:
    """A group at one moment."""

    state: str
    """Kafka's, in lower case: `stable`, `empty`, `dead`, `preparing_rebalancing`, …"""
    members: tuple[Member, ...]

    @property
    def is_empty(self) -> bool:
        return not self.members

    @property
    def is_rebalancing(self) -> bool:
        return "rebalanc" in self.state or self.state in ("assigning", "reconciling")


def membership(client: AdminClient, group: str, timeout: float) -> Membership | None:
    """Return who is in the group; None where that may not be told, or was not told in time."""
    try:
        answer = client.describe_consumer_groups([group], request_timeout=timeout)[group].result(timeout=timeout)
    except (KafkaException, TimeoutError) as failure:
        error = error_of(failure)
        # From Kafka 4 on, a group that nobody has joined for long is an error; unknown is an answer here.
        return Membership("dead", ()) if error is not None and error.code() == KafkaError.GROUP_ID_NOT_FOUND else None
    return Membership(
        answer.state.name.lower(),
        tuple(
            Member(
                member.member_id,
                member.client_id,
                member.group_instance_id,
                member.host,
                frozenset(Partition(row.topic, row.partition) for row in member.assignment.topic_partitions)
                if member.assignment is not None
                else frozenset(),
            )
            for member in answer.members
        ),
    )


def offsets_retention(client: AdminClient, broker: int, timeout: float) -> float | None:
    """Return the seconds after which the offsets of an empty group expire; None where that may not be told."""
    resource = ConfigResource(ResourceType.BROKER, str(broker))
    try:
        found = client.describe_configs([resource], request_timeout=timeout)[resource].result(timeout=timeout)
        return float(found["offsets.retention.minutes"].value) * 60
    except (KafkaException, TimeoutError, KeyError, TypeError, ValueError):
        return None


__all__ = ["Member", "Membership", "membership", "offsets_retention"]
