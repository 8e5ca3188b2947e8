"""What is recommended for a setting, and why, given the others: the text beside it in `streamapp config` and on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from streamapp.settings.whole import Settings

Advice = Callable[[Settings], str | None]


def advice(settings: Settings) -> Mapping[str, str]:
    """Return setting -> recommendation; settings of which there is nothing to recommend are absent."""
    found = {name: say(settings) if callable(say) else say for name, say in _ADVICE.items()}
    return {name: text for name, text in found.items() if text}


def _worker_id(settings: Settings) -> str:
    if settings.identity.worker_id is not None:
        return "a name that is the same after a restart, another for each worker"
    return "set it where the data directory is not kept: each new id leaves its predecessor's partitions unowned for a session timeout"


def _session(settings: Settings) -> str | None:
    if settings.group.group_protocol == "consumer":
        return "the broker's, with group_protocol consumer"
    return "45 s, or 1.5 x the 95th percentile of your restarts where that is more; 300 s at most"


def _transaction_timeout(settings: Settings) -> str:
    if settings.transaction.transaction_timeout > settings.group.session_timeout and settings.group.group_protocol == "classic":
        return f"at most session_timeout ({settings.group.session_timeout:g} s): who takes a dead worker's partitions over waits for it"
    return (
        "30 s: how long readers wait for a killed worker that does not come back; at most session_timeout and the broker's 15 min"
    )


def _linger(settings: Settings) -> str:
    share = settings.transaction.commit_interval / 20
    return f"5 % of commit_interval, {share:g} s: full batches, and latency stays the commit's; 0 sends small ones"


def _partitions(settings: Settings) -> str:
    return "twice the peak's workers, as 6, 12, 24 or 48: adding later moves keys, removing is impossible (`streamapp topics plan --workers N`)"


def _protocol(settings: Settings) -> str | None:
    weak = {
        "plaintext": "sasl_ssl on a network that others use: nothing is encrypted, and anybody is let in",
        "sasl_plaintext": "sasl_ssl: records travel in the clear",
        "ssl": None,
        "sasl_ssl": None,
    }
    return weak[settings.broker.security_protocol]


def _bind(settings: Settings) -> str:
    if settings.web.web_bind in ("127.0.0.1", "localhost", "::1"):
        return "127.0.0.1; in Kubernetes 0.0.0.0, with values hidden"
    shown = settings.web.web_show_values and settings.web.web_token is None
    return "127.0.0.1, or a web_token: others can read keys and values" if shown else "with values hidden, or a web_token"


def _redact(settings: Settings) -> str | None:
    return None if settings.observe.dlq_redact else "a function, where messages or stacks may hold what is private"


def _store(settings: Settings) -> str | None:
    return None if settings.stream.store == "rocksdb://" else "rocksdb://: in memory, tables are rebuilt on each start"


def _https(settings: Settings) -> str | None:
    return (
        None
        if settings.broker.ssl_endpoint_identification == "https"
        else "https: any certificate of a trusted authority passes now"
    )


def _guarantee(settings: Settings) -> str:
    if settings.transaction.exactly_once:
        return "exactly_once; at_least_once where the work is idempotent and latency counts"
    return "exactly_once, unless all that agents do is idempotent"


def _replication(settings: Settings) -> str:
    return "-1, the broker's default, if that is 3; min.insync.replicas 2 with it, or acks=all promises little"


_ADVICE: Final[Mapping[str, str | Advice]] = {
    "worker_id": _worker_id,
    "data_dir": "a disk that is kept: without it each start restores every table",
    "app_version": "the release: dead letters, metrics and `new version slower` name it",
    "broker": "two or three of the cluster's brokers: one alone may be the one that is down",
    "security_protocol": _protocol,
    "sasl_mechanism": "SCRAM-SHA-512, or OAUTHBEARER; PLAIN through TLS only",
    "sasl_password": "STREAMAPP_SASL_PASSWORD_FILE: a variable shows in process listings",
    "ssl_endpoint_identification": _https,
    "processing_guarantee": _guarantee,
    "transaction_timeout": _transaction_timeout,
    "commit_interval": "0.2 s: about the delay that read_committed readers see; longer saves broker work, at most a third of transaction_timeout",
    "group_protocol": "classic: static members are back at once after a kill; consumer needs brokers from 4.0",
    "session_timeout": _session,
    "heartbeat_interval": "unset: the smaller of 3 s and a third of session_timeout",
    "max_poll_interval": "300 s; slow agents do not count, polling goes on beside them",
    "topic_allow_declare": "false where topics are made by others: a start then names what is missing (`streamapp topics plan`)",
    "topic_partitions": _partitions,
    "topic_replication_factor": _replication,
    "auto_offset_reset": "earliest: loses nothing; it acts once per partition",
    "stream_buffer_maxsize": "4096 per partition: memory, and what a rewind throws away; fewer for large records",
    "isolate_after": "3: two ends may be chance",
    "store": _store,
    "rocksdb_memory_bytes": "128 MiB; 0.5 MiB per table partition at least",
    "producer_linger": _linger,
    "producer_batch_size": "1 000 000 bytes",
    "producer_compression": "lz4; zstd where network is dearer than CPU; none only for values below 200 bytes",
    "retry_attempts": "4: most blips end within a second",
    "retry_unknown_attempts": "2: a bug repeats, a blip does not",
    "retry_jitter": "full: workers must not return in step",
    "retry_budget": "15 s, at most half of transaction_timeout and of max_poll_interval",
    "retry_attempt_timeout": "10 s, above the 99th percentile of your slowest call twice",
    "breaker_enabled": "true: an outage must not pour a topic into the dead letters",
    "breaker_probe_interval": "30 s: spares a sick dependency",
    "web_port": "one of its own for each worker of a machine; 0 leaves you without page, metrics and probes",
    "web_bind": _bind,
    "web_show_values": "false where others reach the page",
    "web_peers": "the other workers' URLs: a worker knows its own partitions only",
    "log_format": "auto: text on a terminal, else json",
    "lag_sample_interval": "10 s: half an hour of samples is the trend",
    "lag_drain_target": "900 s: a coffee, not a shift",
    "otel_keys": "false: keys may be private",
    "dlq_redact": _redact,
    "debug": "false: tracebacks are for developers",
}


__all__ = ["advice"]
