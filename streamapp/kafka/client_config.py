"""What each client of the library is told: pure functions from settings to librdkafka's options.

The options that exactly-once rests on are written last, over the user's raw ones; `settings.OWNED_OPTIONS` refuses those by name
before that, so here it is a second lock on the same door. Milliseconds live in this file only.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final, TypeAlias

from streamapp.errors import SettingInvalid
from streamapp.settings import Settings

ClientConfig: TypeAlias = dict[str, str | int | float | bool]

_LONGEST_NAME: Final = 249
"""What the broker allows for a `group.instance.id`, as for a topic's name."""

_REQUEST_TIMEOUT: Final = 10.0
"""Seconds after which a request without an answer counts as lost: well inside the session timeout, so that a consumer whose
broker went silent finds the next one before the group gives its partitions away."""

_RECONNECT_AT_MOST: Final = 1.0
"""Seconds between attempts to connect, at most. librdkafka's 10 s would add that much to every broker restart."""

_METADATA_REFRESH: Final = 30.0
"""Seconds until a topic or partition that was added is seen; librdkafka's own is five minutes."""

_FETCH_BACKOFF: Final = 0.02
"""Seconds that fetching pauses when the prefetch is full. librdkafka's 1 s is longer than 5000 records last at full speed, so the
worker would run dry each second."""

_RETRY_BACKOFF: Final = 0.5
"""Seconds before the client re-sends a request. The rule that no request of one transaction may arrive in a later one measures
the time of a commit against this (it builds a new producer from 0.4 s on): change neither alone."""

_RETRY_BACKOFF_AT_MOST: Final = 1.0

_LARGEST_MESSAGE: Final = 1_000_000_000
"""Bytes of the largest record that librdkafka can be told of."""

_DELIVERY_SHARE: Final = 0.7
"""Share of the transaction timeout in which a record is delivered or has failed: the engine commits or aborts by then."""


class Assignor(StrEnum):
    """How the group of the classic protocol spreads its partitions."""

    COOPERATIVE_STICKY = "cooperative-sticky"
    """Incremental: who keeps a partition goes on working. For apps whose source sets are single topics."""
    RANGE = "range"
    """Eager, and partition p of all topics of a set lands on one worker. For apps with a table that topics share."""


class Isolation(StrEnum):
    """Which records a reader sees."""

    READ_COMMITTED = "read_committed"
    """What committed, up to the last stable offset."""
    READ_UNCOMMITTED = "read_uncommitted"
    """Everything: the only way to learn a high watermark."""


def transactional_id(settings: Settings, worker_id: str) -> str:
    """Return the worker's `transactional.id`: the same after a restart, so that its new producer ends the dead one's transaction."""
    return f"{settings.identity.app_id}-{worker_id}"


def group_instance_id(settings: Settings, worker_id: str, set_name: str) -> str:
    """Return the static member id of one source set's consumer; a name too long for the broker ends in a hash of its rest."""
    name = f"{settings.identity.app_id}-{worker_id}-{set_name}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: _LONGEST_NAME - len(digest) - 1]}-{digest}"


def source_consumer(
    settings: Settings, worker_id: str, set_name: str, assignor: Assignor, *, statistics_interval: float = 0.0
) -> ClientConfig:
    """Return the options of the consumer of one source set, a member of the app's group.

    `statistics_interval`: seconds between calls of `stats_cb`; 0 = none. With group_protocol `consumer` the assignor is the
    broker's `range`, members are dynamic and the session is the broker's.
    """
    group = settings.group
    config = _consumer(settings, _client_id(settings, worker_id, set_name))
    config |= {
        # 1000 to 10000 records: enough to keep a lane busy between two fetches, little enough to throw away in a rewind.
        "queued.min.messages": 5000,
        "queued.max.messages.kbytes": 16_384,
    }
    config |= dict(settings.broker.consumer_options)
    config |= _reading(Isolation.READ_COMMITTED)
    config |= {
        "max.poll.interval.ms": _ms(group.max_poll_interval),
        "statistics.interval.ms": _ms(statistics_interval),
    }
    if group.group_protocol == "consumer":
        # Dynamic members: a killed static one keeps its replacement out for the broker's whole session timeout.
        return config | {"group.protocol": "consumer", "group.remote.assignor": "range"}
    return config | {
        "group.protocol": "classic",
        "group.instance.id": group_instance_id(settings, worker_id, set_name),
        "partition.assignment.strategy": str(assignor),
        "session.timeout.ms": _ms(group.session_timeout),
        "heartbeat.interval.ms": _ms(group.heartbeat),
    }


def helper_consumer(settings: Settings, worker_id: str, *, isolation: Isolation = Isolation.READ_COMMITTED) -> ClientConfig:
    """Return the options of the consumer that asks for committed offsets: in the app's group, and never subscribed.

    With `read_committed` the broker answers once the transactions that decide on them are over, else with those of before.
    """
    return _beside(settings, worker_id, "committed", isolation)


def watermark_consumer(settings: Settings, worker_id: str, *, isolation: Isolation = Isolation.READ_UNCOMMITTED) -> ClientConfig:
    """Return the options of the consumer that asks for watermarks: high ones, or with `read_committed` last stable offsets."""
    return _beside(settings, worker_id, "watermarks", isolation)


def changelog_consumer(settings: Settings, worker_id: str) -> ClientConfig:
    """Return the options of the consumer that restores tables: assigned by hand, commits nothing."""
    config = _consumer(settings, _client_id(settings, worker_id, "restore"))
    # A record that waits costs the client 0.3 kB besides itself, and answers are asked for in bytes before their decompression. Small
    # ones made nothing slower: 2 million marks from 32 partitions took 103 MB at the most (from 8: 112), where answers of 50 MB and
    # 100,000 records ahead took 441 (202).
    config |= {"fetch.max.bytes": 4_194_304, "queued.min.messages": 10_000, "queued.max.messages.kbytes": 4_096}
    return config | dict(settings.broker.consumer_options) | _reading(Isolation.READ_COMMITTED)


def follower(settings: Settings, worker_id: str) -> ClientConfig:
    """Return the options of the consumer that follows dead letters and what becomes of them: assigned by hand, commits nothing."""
    config = _consumer(settings, _client_id(settings, worker_id, "dead-letters"))
    # A trickle, but for the first reading: some records ahead, and answers that are not larger than a few dead letters have to be.
    config |= {"fetch.max.bytes": 4_194_304, "queued.min.messages": 1_000, "queued.max.messages.kbytes": 2_048}
    config |= dict(settings.broker.consumer_options) | _reading(Isolation.READ_COMMITTED)
    # What retention or compaction took is no loss here: go on with what is left.
    return config | {"auto.offset.reset": "earliest"}


def reader(
    settings: Settings, name: str, *, isolation: Isolation = Isolation.READ_COMMITTED, start: str = "earliest"
) -> ClientConfig:
    """Return the options of a consumer for commands and scripts: assigned by hand, commits nothing.

    `start`: where an assignment without an offset begins, `earliest`, `latest` or `error`.
    """
    config = _consumer(settings, f"{settings.identity.app_id}-{name}") | dict(settings.broker.consumer_options)
    return config | _reading(isolation) | {"auto.offset.reset": start}


def transactional_producer(settings: Settings, worker_id: str, *, max_message_bytes: int | None = None) -> ClientConfig:
    """Return the options of the worker's one producer.

    `max_message_bytes`: the largest record it must take, where dead letters or changelogs need more than the setting.
    """
    name = transactional_id(settings, worker_id)
    return _producer(settings, _client_id(settings, worker_id, "producer"), max_message_bytes) | {
        "transactional.id": name,
        "transaction.timeout.ms": _ms(settings.transaction.transaction_timeout),
    }


def named_transactional_producer(settings: Settings, name: str) -> ClientConfig:
    """Return the options of a transactional producer beside the worker's, a replay job's: `<app id>-<name>`."""
    return _producer(settings, f"{settings.identity.app_id}-{name}", None) | {
        "transactional.id": f"{settings.identity.app_id}-{name}",
        "transaction.timeout.ms": _ms(settings.transaction.transaction_timeout),
    }


def fencing_producer(settings: Settings, transactional_id: str, timeout: float) -> ClientConfig:
    """Return the options of a producer that takes a transactional id over, to end what is open under it; it keeps the id's `timeout`."""
    return _producer(settings, f"{settings.identity.app_id}-transactions", None) | {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": _ms(timeout),
        "message.timeout.ms": _ms(_DELIVERY_SHARE * timeout),
    }


def idempotent_producer(settings: Settings, name: str, *, max_message_bytes: int | None = None) -> ClientConfig:
    """Return the options of a producer without transactions: scripts', and the worker's own under at_least_once."""
    return _producer(settings, f"{settings.identity.app_id}-{name}", max_message_bytes)


def admin(settings: Settings, name: str = "admin") -> ClientConfig:
    """Return the options of an AdminClient. Made, used and dropped: not for a worker's life."""
    config = _connection(settings, f"{settings.identity.app_id}-{name}") | dict(settings.broker.broker_options)
    return config | {"socket.timeout.ms": _ms(_REQUEST_TIMEOUT)}


def option_refused(error: Exception) -> SettingInvalid:
    """Return what to raise when the library refuses a client's options at construction: what it said, and whose they are."""
    return SettingInvalid(
        f"the Kafka client refuses its options: {_reason(error)}; look at STREAMAPP_BROKER_OPTIONS, "
        "STREAMAPP_CONSUMER_OPTIONS, STREAMAPP_PRODUCER_OPTIONS and the security settings"
    )


def _reason(error: Exception) -> str:
    # A KafkaException wraps a KafkaError; its text is the useful half.
    wrapped = error.args[0] if error.args else error
    text = wrapped.str() if hasattr(wrapped, "str") else str(wrapped)
    return " ".join(str(text).split())


# -- what they share


def _connection(settings: Settings, client_id: str) -> ClientConfig:
    broker = settings.broker
    config: ClientConfig = {
        "bootstrap.servers": broker.broker,
        "client.id": client_id,
        "reconnect.backoff.max.ms": _ms(_RECONNECT_AT_MOST),
        "topic.metadata.refresh.interval.ms": _ms(_METADATA_REFRESH),
        # A peer that vanished without a word (a cut cable) shows within the system's keepalive time.
        "socket.keepalive.enable": True,
        "log.connection.close": False,
        # With the default, rebootstrap, send_offsets never returned once all connections had been cut; and a consumer without a broker
        # tries, and logs, 20 times a second whatever its backoff says.
        "metadata.recovery.strategy": "none",
        "security.protocol": broker.security_protocol,
    }
    if broker.security_protocol.startswith("sasl_"):
        config["sasl.mechanism"] = str(broker.sasl_mechanism)
        if broker.sasl_username is not None:
            config["sasl.username"] = broker.sasl_username
        if broker.sasl_password is not None:
            config["sasl.password"] = broker.sasl_password.reveal()
    if broker.security_protocol.endswith("ssl"):
        config["ssl.endpoint.identification.algorithm"] = broker.ssl_endpoint_identification
        for option, path in (
            ("ssl.ca.location", broker.ssl_ca_location),
            ("ssl.certificate.location", broker.ssl_certificate_location),
            ("ssl.key.location", broker.ssl_key_location),
        ):
            if path is not None:
                config[option] = str(path)
        if broker.ssl_key_password is not None:
            config["ssl.key.password"] = broker.ssl_key_password.reveal()
    return config


def _consumer(settings: Settings, client_id: str) -> ClientConfig:
    """Return what every consumer has in common; raw consumer options are laid over it by the caller."""
    stream = settings.stream
    return (
        _connection(settings, client_id)
        | {
            # Every consumer names the group, also those that never join: the library asks for it, and one right covers all.
            "group.id": settings.identity.app_id,
            "max.partition.fetch.bytes": stream.consumer_max_fetch_size,
            "fetch.queue.backoff.ms": _ms(_FETCH_BACKOFF),
            "socket.timeout.ms": _ms(_REQUEST_TIMEOUT),
        }
        | dict(settings.broker.broker_options)
    )


def _reading(isolation: Isolation) -> ClientConfig:
    """Return what exactly-once rests on in a consumer."""
    return {
        "isolation.level": str(isolation),
        # Offsets are committed by the engine alone, in the transaction of their work.
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # The end of a partition is an event in the lane: it carries the offset behind a tail of commit markers.
        "enable.partition.eof": True,
        # The engine resolves a missing offset once and commits the number; a reset here would skip or repeat in silence.
        "auto.offset.reset": "error",
        "allow.auto.create.topics": False,
    }


def _beside(settings: Settings, worker_id: str, role: str, isolation: Isolation) -> ClientConfig:
    config = _consumer(settings, _client_id(settings, worker_id, role)) | dict(settings.broker.consumer_options)
    return config | _reading(isolation)


def _producer(settings: Settings, client_id: str, max_message_bytes: int | None) -> ClientConfig:
    producer, transaction = settings.producer, settings.transaction
    config = _connection(settings, client_id)
    config |= dict(settings.broker.broker_options)
    config |= dict(settings.broker.producer_options)
    return config | {
        "acks": "all",
        "enable.idempotence": True,
        # librdkafka's default is CRC32: keys would land elsewhere than Java's clients put them.
        "partitioner": "murmur2_random",
        "linger.ms": _ms(producer.producer_linger),
        "batch.size": producer.producer_batch_size,
        "compression.type": producer.producer_compression,
        "message.max.bytes": min(_LARGEST_MESSAGE, max(producer.producer_max_request_size, max_message_bytes or 0)),
        "message.timeout.ms": _ms(_DELIVERY_SHARE * transaction.transaction_timeout),
        "retry.backoff.ms": _ms(_RETRY_BACKOFF),
        "retry.backoff.max.ms": _ms(_RETRY_BACKOFF_AT_MOST),
        # send_offsets is bounded by this alone: its own timeout of 1 s was seen to return after 30.5 s.
        "socket.timeout.ms": _ms(min(_REQUEST_TIMEOUT, transaction.transaction_timeout / 4)),
        "statistics.interval.ms": 0,
    }


def _client_id(settings: Settings, worker_id: str, role: str) -> str:
    return f"{settings.identity.app_id}-{worker_id}-{role}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
