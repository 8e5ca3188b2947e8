"""The librdkafka options that raw options may not set: exactly-once rests on them, or a setting of ours is their one name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ENGINE = "is the engine's: exactly-once rests on it"
_THREADS = "is the engine's: its threads and callbacks rest on it"


def _setting(name: str) -> str:
    return f"has a setting of its own, {name}"


OWNED_OPTIONS: Final[Mapping[str, str]] = {
    # What makes a read, its work and its offset one transaction.
    "isolation.level": _ENGINE,
    "enable.auto.commit": _ENGINE,
    "auto.commit.enable": _ENGINE,
    "auto.commit.interval.ms": _ENGINE,
    "enable.auto.offset.store": _ENGINE,
    "enable.partition.eof": _ENGINE,
    "offset.store.method": _ENGINE,
    "offset.store.path": _ENGINE,
    "offset.store.sync.interval.ms": _ENGINE,
    "enable.idempotence": _ENGINE,
    "enable.gapless.guarantee": _ENGINE,
    "acks": "cannot be other than all: exactly-once rests on it",
    "request.required.acks": "cannot be other than all: exactly-once rests on it",
    "max.in.flight": _ENGINE,
    "max.in.flight.requests.per.connection": _ENGINE,
    "retries": _ENGINE,
    "message.send.max.retries": _ENGINE,
    "partitioner": "is the engine's: keys must land where Java's clients put them",
    "queuing.strategy": _ENGINE,
    "delivery.report.only.error": _ENGINE,
    "group.id": "is the app's: set app_id",
    "group.instance.id": "is the app's: set worker_id",
    "group.remote.assignor": _ENGINE,
    "partition.assignment.strategy": "is the engine's: it follows from the tables that topics share",
    "transactional.id": "is the app's: set worker_id",
    # How long a request may be on its way, so that none arrives in a later transaction.
    "retry.backoff.ms": _ENGINE,
    "retry.backoff.max.ms": _ENGINE,
    "socket.timeout.ms": _ENGINE,
    "message.timeout.ms": _ENGINE,
    "delivery.timeout.ms": _ENGINE,
    "metadata.recovery.strategy": _ENGINE,
    "metadata.recovery.rebootstrap.trigger.ms": _ENGINE,
    # Who is called, and on which thread.
    **dict.fromkeys(
        (
            "error_cb",
            "stats_cb",
            "log_cb",
            "logger",
            "throttle_cb",
            "oauth_cb",
            "on_commit",
            "on_delivery",
            "dr_cb",
            "dr_msg_cb",
            "rebalance_cb",
            "offset_commit_cb",
            "default.topic.config",
            "statistics.interval.ms",
            "log.queue",
            "consume.callback.max.messages",
            "enabled_events",
            "opaque",
            "background_event_cb",
        ),
        _THREADS,
    ),
    # One thing, one name.
    "bootstrap.servers": _setting("broker"),
    "metadata.broker.list": _setting("broker"),
    "auto.offset.reset": _setting("auto_offset_reset"),
    "session.timeout.ms": _setting("session_timeout"),
    "heartbeat.interval.ms": _setting("heartbeat_interval"),
    "max.poll.interval.ms": _setting("max_poll_interval"),
    "group.protocol": _setting("group_protocol"),
    "transaction.timeout.ms": _setting("transaction_timeout"),
    "linger.ms": _setting("producer_linger"),
    "queue.buffering.max.ms": _setting("producer_linger"),
    "batch.size": _setting("producer_batch_size"),
    "compression.type": _setting("producer_compression"),
    "compression.codec": _setting("producer_compression"),
    "message.max.bytes": _setting("producer_max_request_size"),
    "max.partition.fetch.bytes": _setting("consumer_max_fetch_size"),
    "fetch.message.max.bytes": _setting("consumer_max_fetch_size"),
    "allow.auto.create.topics": _setting("topic_allow_declare"),
    "security.protocol": _setting("security_protocol"),
    "sasl.mechanism": _setting("sasl_mechanism"),
    "sasl.mechanisms": _setting("sasl_mechanism"),
    "sasl.username": _setting("sasl_username"),
    "sasl.password": _setting("sasl_password"),
    "ssl.ca.location": _setting("ssl_ca_location"),
    "ssl.certificate.location": _setting("ssl_certificate_location"),
    "ssl.key.location": _setting("ssl_key_location"),
    "ssl.key.password": _setting("ssl_key_password"),
    "ssl.endpoint.identification.algorithm": _setting("ssl_endpoint_identification"),
    # Accepted by librdkafka and without effect there: silence would look like success.
    "max.poll.records": "has no effect here: memory is bounded by stream_buffer_maxsize, a batch by take(n)",
}
"""Option -> why it is refused."""
