"""Which broker answers: whether it lets us in, and whether it fences a group's zombies, found out the way that every security setting allows."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Final, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, BrokerUnsupported, SettingInvalid
from streamapp.kafka.failures import options_checked

_API = re.compile(r"ApiKey (\w+) \(\d+\) Versions (\d+)\.\.(\d+)")

FENCING_COMMIT: Final = 3
"""The version of TxnOffsetCommit that carries generation and member: KIP-447, Apache Kafka 2.5."""

CALL: Final = 2.0
"""Longest single call, in seconds: a stop during the start waits for it."""

_UNTOLD = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT)
"""Errors that follow from others and tell nothing by themselves."""


class _Collector(logging.Handler):
    """Reads the client's log and errors."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, int] = {}
        self.last_error: KafkaError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if (found := _API.search(record.getMessage())) is not None:
            self.versions[found[1]] = int(found[3])

    def failed(self, error: KafkaError) -> None:
        if error.code() not in _UNTOLD:
            self.last_error = error


def await_broker(config: Mapping[str, object], deadline: Deadline, *, fencing: bool) -> None:
    """Return when a broker answers; with `fencing`, one that fences zombies by group generation (Kafka 2.5 and later).

    librdkafka tells the API versions in its debug log only, so a client is made for it and dropped. Raises BrokerUnreachable;
    SettingInvalid: it does not let us in, or we do not trust its certificate; BrokerUnsupported.
    """
    collector = _Collector()
    logger = logging.getLogger(f"{__name__}.debug")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(collector)
    try:
        options = {**config, "debug": "feature", "log_level": 7, "error_cb": collector.failed}
        with options_checked():
            client = AdminClient(cast("dict[str, str | int | float]", options), logger=logger)
        _wait_for_answer(client, collector, config, deadline)
    finally:
        logger.removeHandler(collector)
    commit = collector.versions.get("TxnOffsetCommit")
    if fencing and (commit is None or commit < FENCING_COMMIT):
        raise BrokerUnsupported(
            f"{config.get('bootstrap.servers')}: this broker does not fence a group's zombies "
            f"(TxnOffsetCommit {commit}, {FENCING_COMMIT} needed): exactly once needs Apache Kafka 2.5 or later; "
            "upgrade it, or set STREAMAPP_PROCESSING_GUARANTEE=at_least_once"
        )


def _wait_for_answer(client: AdminClient, collector: _Collector, config: Mapping[str, object], deadline: Deadline) -> None:
    while True:
        try:
            client.list_topics(timeout=max(0.2, deadline.slice(CALL)))
        except KafkaException as failure:
            client.poll(0)  # hands over what the client met
            if deadline.passed:
                raise _why(config, collector.last_error, failure) from None
            continue
        client.poll(0)
        # A broker's versions are logged before its first answer; only lines that were lost are worth another call.
        if collector.versions or deadline.passed:
            return


def _why(config: Mapping[str, object], error: KafkaError | None, failure: KafkaException) -> Exception:
    broker = config.get("bootstrap.servers")
    text = " ".join((failure.args[0] if error is None else error).str().split())
    if error is not None and error.code() == KafkaError._AUTHENTICATION:
        return SettingInvalid(
            f"STREAMAPP_SASL_USERNAME={config.get('sasl.username')}: the broker refuses it: {text}; "
            "correct STREAMAPP_SASL_USERNAME, STREAMAPP_SASL_PASSWORD (or …_FILE) or STREAMAPP_SASL_MECHANISM"
        )
    if error is not None and error.code() == KafkaError._SSL and "verif" in text:
        return SettingInvalid(
            f"STREAMAPP_SSL_CA_LOCATION={config.get('ssl.ca.location', '')}: the broker's certificate is not trusted: {text}"
        )
    return BrokerUnreachable(f"{broker}: no broker answered: {text}")
