"""Which groups have committed offsets on some topics: asked by a command, with a client made for it and dropped (DESIGN rule 19)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from streamapp.errors import BrokerUnreachable, NotAllowed
from streamapp.events import CLIENT_LOGGER
from streamapp.kafka import client_config
from streamapp.kafka.admin import NOT_ALLOWED
from streamapp.kafka.failures import error_of, options_checked
from streamapp.records import Partition
from streamapp.settings import Settings

NAME: Final = "groups"


def groups_on(settings: Settings, topics: Iterable[str], timeout: float) -> dict[str, dict[Partition, int]]:
    """Return each group's next offsets on `topics`, the app's own group left out; groups that have none there are absent.

    Raises NotAllowed: groups may not be listed. Raises BrokerUnreachable.
    """
    wanted = set(topics)
    with options_checked():
        client = AdminClient(dict(client_config.admin(settings, NAME)), logger=logging.getLogger(CLIENT_LOGGER))
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


__all__ = ["groups_on"]
