"""The effective settings with their origin, and what OPERATIONS recommends beside them. Secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamapp.monitor.status import ConfigRow
from streamapp.settings import Options, Settings, values

RECOMMENDED: Final[Mapping[str, str]] = {
    "processing_guarantee": "exactly_once; at_least_once where the work is idempotent",
    "commit_interval": "0.2 s; ends before a third of transaction_timeout",
    "transaction_timeout": "30 s; at most session_timeout, and the broker's 15 min",
    "session_timeout": "1.5 × the 95th percentile of a restart, at least 45 s",
    "heartbeat_interval": "at most a third of session_timeout",
    "max_poll_interval": "300 s; slow agents do not count",
    "stream_buffer_maxsize": "4096 records per partition: memory, and what a rewind throws away",
    "producer_linger": "0.005 to 0.02 s: 5 % of the commit interval",
    "producer_batch_size": "1000000 bytes",
    "producer_compression": "lz4; zstd where the network is dearer than CPU",
    "retry_budget": "at most half of transaction_timeout and of max_poll_interval",
    "retry_attempt_timeout": "at most half of transaction_timeout and of max_poll_interval",
    "auto_offset_reset": "earliest: loses nothing",
    "topic_partitions": "max(2 × peak workers, 2 × peak rate / one partition's capacity), as 6, 12, 24 or 48",
    "worker_id": "set, or the data directory kept: else each restart leaves its partitions unowned for session_timeout",
    "web_bind": "127.0.0.1; elsewhere with web_token, or values hidden",
    "web_show_values": "false: keys and values may be private",
    "web_peers": "every other worker's page, so that each shows all partitions",
    "lag_sample_interval": "10 s",
    "lag_drain_target": "900 s: a coffee, not a shift",
}
"""OPERATIONS §0 and §8, one line each."""


def config_rows(settings: Settings) -> tuple[ConfigRow, ...]:
    """Return a row for each setting, in the order of the rooms."""
    return tuple(
        ConfigRow(
            name=name,
            value=_shown(value),
            origin=settings.origin.get(name, "default"),
            recommendation=RECOMMENDED.get(name),
        )
        for name, value in values(settings).items()
    )


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, Options):
        return ",".join(f"{name}={option}" for name, option in value.masked().items())
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    return str(value)  # a Secret shows itself as ***


__all__ = ["RECOMMENDED", "config_rows"]
