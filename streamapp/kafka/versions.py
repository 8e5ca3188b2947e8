"""Which broker answers: whether it fences a group's zombies, found out the way that every security setting allows."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import cast

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, BrokerUnsupported

_API = re.compile(r"ApiKey (\w+) \(\d+\) Versions (\d+)\.\.(\d+)")

FENCING_COMMIT = 3
"""The version of TxnOffsetCommit that carries generation and member: KIP-447, Apache Kafka 2.5."""


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if (found := _API.search(record.getMessage())) is not None:
            self.versions[found[1]] = int(found[3])


def require_fencing(config: Mapping[str, object], deadline: Deadline) -> None:
    """Return when a broker answers that fences zombies by group generation (Kafka 2.5 and later).

    librdkafka tells the API versions in its debug log only, so a client is made for it and dropped. Raises BrokerUnreachable,
    BrokerUnsupported.
    """
    collector = _Collector()
    logger = logging.getLogger(f"{__name__}.debug")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(collector)
    client = AdminClient(cast("dict[str, str | int | float]", {**config, "debug": "feature"}), logger=logger)
    try:
        _wait_for_versions(client, collector, config, deadline)
    finally:
        logger.removeHandler(collector)


def _wait_for_versions(client: AdminClient, collector: _Collector, config: Mapping[str, object], deadline: Deadline) -> None:
    while True:
        try:
            client.list_topics(timeout=max(0.2, deadline.slice(2.0)))
        except KafkaException as failure:
            if deadline.passed:
                raise BrokerUnreachable(
                    f"{config.get('bootstrap.servers')}: no broker answered: {failure.args[0].str()}"
                ) from None
            continue
        client.poll(0)
        commit = collector.versions.get("TxnOffsetCommit")
        if commit is None and not deadline.passed and not collector.versions:
            continue
        if commit is None or commit < FENCING_COMMIT:
            raise BrokerUnsupported(
                f"{config.get('bootstrap.servers')}: this broker does not fence a group's zombies "
                f"(TxnOffsetCommit {commit}, {FENCING_COMMIT} needed): exactly once needs Apache Kafka 2.5 or later; "
                "upgrade it, or set processing_guarantee=at_least_once"
            )
        return
