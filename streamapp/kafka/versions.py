"""Which broker answers: whether it lets us in, and whether it fences a group's zombies, found out the way that every security setting allows."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Final, cast

from confluent_kafka import KafkaError, KafkaException, libversion
from confluent_kafka.admin import AdminClient

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnreachable, BrokerUnsupported, SettingInvalid
from streamapp.kafka.failures import options_checked

_API = re.compile(r"ApiKey (\w+) \(\d+\) Versions (\d+)\.\.(\d+)")
_FAIL = re.compile(r"FAIL (?:\[[^]]*\] ?)*: (.*)")

FENCING_COMMIT: Final = 3
"""The version of TxnOffsetCommit that carries generation and member: KIP-447, Apache Kafka 2.5."""

CALL: Final = 2.0
"""Longest single call, in seconds: a stop during the start waits for it."""

_FIRST_REQUEST: Final = "APIVERSION_QUERY"
"""What the client was doing, as its log says, when somebody listened and hung up at the first words."""


def library_version() -> str:
    """Return the version of librdkafka."""
    return str(libversion()[0])


class _Collector(logging.Handler):
    """Reads the client's log and errors."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, int] = {}
        self.met: KafkaError | None = None
        """The last error that the user may have to mend; what follows from it (all brokers are down) is left out."""
        self.last_failure: str | None = None
        """Why the last connection ended; some reasons are told in the log only."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if (found := _API.search(text)) is not None:
            self.versions[found[1]] = int(found[3])
        elif (failed := _FAIL.search(text)) is not None:
            self.last_failure = failed[1]

    def on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
            self.met = error


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
        # A connection that the broker closes at the first words is an error to us, though none to the client.
        told = {"debug": "feature", "log_level": 7, "log.connection.close": True, "error_cb": collector.on_error}
        with options_checked():
            client = AdminClient(cast("dict[str, str | int | float]", {**config, **told}), logger=logger)
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
                raise _why(config, collector, failure) from None
            continue
        client.poll(0)
        # A broker's versions are logged before its first answer; only lines that were lost are worth another call.
        if collector.versions or deadline.passed:
            return


def _why(config: Mapping[str, object], collector: _Collector, failure: KafkaException) -> Exception:
    broker, met = config.get("bootstrap.servers"), collector.met
    text = _one_line(met.str() if met is not None else collector.last_failure or failure.args[0].str())
    if met is not None and met.code() == KafkaError._AUTHENTICATION:
        return SettingInvalid(
            f"STREAMAPP_SASL_USERNAME={config.get('sasl.username')}: the broker does not let it in: {text}; "
            "correct it, STREAMAPP_SASL_PASSWORD (or …_FILE) or STREAMAPP_SASL_MECHANISM"
        )
    if met is not None and "certificate verify failed" in text:
        return SettingInvalid(
            f"STREAMAPP_SSL_CA_LOCATION={config.get('ssl.ca.location', '')}: the broker's certificate is not trusted: {text}"
        )
    hint = ""
    if _FIRST_REQUEST in text:
        hint = f"; is STREAMAPP_SECURITY_PROTOCOL={config.get('security.protocol')} what that port speaks?"
    return BrokerUnreachable(f"{broker}: no broker answered: {text}{hint}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
