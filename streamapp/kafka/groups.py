"""Groups as commands see and change them, each time with a client made for it and dropped (DESIGN rule 19)."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streamapp.errors import BrokerUnreachable, NotAllowed
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka import client_config
from streamapp.kafka.admin import NOT_ALLOWED
from streamapp.kafka.failures import error_of, options_checked
from streamapp.records import Partition
from streamapp.settings import Settings

NAME: Final = "groups"


def group_partition(group: str, partitions: int) -> int:
    """Return the partition of `__consumer_offsets` that a group is in: by the absolute value of Java's hash of its name."""
    code = 0
    for unit in struct.unpack(f">{len(group.encode('utf-16-be')) // 2}H", group.encode("utf-16-be")):
        code = (31 * code + unit) & 0xFFFFFFFF
    signed = code - 2**32 if code & 0x80000000 else code
    return (0 if signed == -(2**31) else abs(signed)) % partitions  # that one has no absolute value in Java; Kafka takes 0


def groups_on(settings: Settings, topics: Iterable[str], timeout: float) -> dict[str, dict[Partition, int]]:
    """Return each group's next offsets on `topics`, the app's own group left out; groups that have none there are absent.

    Raises NotAllowed: groups may not be listed. Raises BrokerUnreachable.
    """
    wanted = set(topics)
    client = _client(settings)
    try:
        listing = client.list_consumer_groups(request_timeout=timeout).result(timeout + 1)
        names = sorted({group.group_id for group in listing.valid} - {settings.identity.app_id})
        # The client takes one group a call; the calls are under way together.
        asked = [
            client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)], request_timeout=timeout)[name]
            for name in names
        ]
        found: dict[str, dict[Partition, int]] = {}
        for name, answer in zip(names, asked, strict=True):
            rows = answer.result(timeout + 1).topic_partitions or []
            offsets = {Partition(row.topic, row.partition): row.offset for row in rows if row.topic in wanted and row.offset >= 0}
            if offsets:
                found[name] = offsets
    except (KafkaException, TimeoutError) as failure:
        error = error_of(failure)
        if error is not None and error.code() in NOT_ALLOWED:
            raise NotAllowed(f"the groups that read {', '.join(sorted(wanted))} may not be listed: {error.str()}") from failure
        told = error.str() if error is not None else "no answer in time"
        raise BrokerUnreachable(f"{settings.broker.broker}: which groups there are: {told}") from failure
    return found


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in the group."""

    client_id: str
    host: str
    instance_id: str | None
    partitions: frozenset[Partition]


def members_of(settings: Settings, timeout: float) -> list[Member]:
    """Return who is in the app's group now; nobody where there is no such group.

    Raises NotAllowed: it may not be described. Raises BrokerUnreachable.
    """
    group, client = settings.identity.app_id, _client(settings)
    try:
        answer = client.describe_consumer_groups([group], request_timeout=timeout)[group].result(timeout + 1)
    except (KafkaException, TimeoutError) as failure:
        error = error_of(failure)
        # From Kafka 4 on, a group that nobody has joined for long is an error.
        if error is not None and error.code() == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        raise _refusal(settings, failure, f"group {group} may not be described", "its members") from failure
    return [
        Member(
            str(each.client_id),
            str(each.host).removeprefix("/"),
            each.group_instance_id,
            frozenset(
                Partition(row.topic, row.partition) for row in (each.assignment.topic_partitions if each.assignment else ())
            ),
        )
        for each in answer.members
    ]


def set_offsets(settings: Settings, offsets: Mapping[Partition, int], timeout: float) -> dict[Partition, str]:
    """Commit these offsets for the app's group, which must be empty; return why one was refused.

    Raises GroupNotEmpty, NotAllowed, BrokerUnreachable.
    """
    group, client = settings.identity.app_id, _client(settings)
    rows = [TopicPartition(where.topic, where.number, offset) for where, offset in offsets.items()]
    try:
        asked = client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, rows)], request_timeout=timeout)
        answer = asked[group].result(timeout + 1)
    except (KafkaException, TimeoutError) as failure:
        raise _refusal(settings, failure, f"offsets of group {group} may not be set", "its offsets") from failure
    refused = {Partition(row.topic, row.partition): row.error for row in answer.topic_partitions or () if row.error is not None}
    if any(error.code() in _NOT_EMPTY for error in refused.values()):
        raise GroupNotEmpty(f"group {group} is not empty")
    return {where: error.str() for where, error in refused.items()}


def delete_group(settings: Settings, timeout: float) -> bool:
    """Forget the app's group and its offsets; False where there is none. Raises GroupNotEmpty, NotAllowed, BrokerUnreachable."""
    group, client = settings.identity.app_id, _client(settings)
    try:
        client.delete_consumer_groups([group], request_timeout=timeout)[group].result(timeout + 1)
    except (KafkaException, TimeoutError) as failure:
        error = error_of(failure)
        if error is not None and error.code() == KafkaError.GROUP_ID_NOT_FOUND:
            return False
        raise _refusal(settings, failure, f"group {group} may not be deleted", "its deletion") from failure
    return True


class GroupNotEmpty(Exception):
    """A worker has joined the group."""


_NOT_EMPTY: Final = frozenset(
    {KafkaError.NON_EMPTY_GROUP, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}
)
"""How the broker says that somebody is in the group."""


def _client(settings: Settings) -> Any:
    with options_checked():
        return AdminClient(dict(client_config.admin(settings, NAME)), logger=logging.getLogger(CLIENT_LOGGER))


def _refusal(settings: Settings, failure: Exception, not_allowed: str, what: str) -> Exception:
    error = error_of(failure)
    if error is not None and error.code() in (*NOT_ALLOWED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        return NotAllowed(f"{not_allowed}: {error.str()}")
    if error is not None and error.code() in _NOT_EMPTY:
        return GroupNotEmpty(f"group {settings.identity.app_id} is not empty")
    told = error.str() if error is not None else "no answer in time"
    return BrokerUnreachable(f"{settings.broker.broker}: group {settings.identity.app_id}: {what}: {told}")


__all__ = ["GroupNotEmpty", "Member", "delete_group", "group_partition", "groups_on", "members_of", "set_offsets"]
