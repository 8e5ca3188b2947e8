"""The names of OPERATIONS §5.1, as a scrape has them, and how to find them in a query."""

from __future__ import annotations

import re
from typing import Final

_GAUGES: Final = (
    *(
        f"consumer_{name}"
        for name in (
            "lag_records", "lag_age_seconds", "committed_offset", "log_end_offset", "log_start_offset", "commit_staleness_seconds",
            "inflight_records", "open_transaction_blocked_records", "retention_loss_seconds", "retention_used_ratio",
            "utilization_ratio", "lag_growth_records_per_second", "drain_seconds", "status", "workers_needed",
        )
    ),
    "dlq_unresolved_records", "dlq_oldest_unresolved_age_seconds", "dlq_retention_loss_seconds",
    "dlq_blocked_keys", "dlq_held_records", "breaker_open", "partition_suspect",
    "restore_remaining_records", "restore_lso_wait_seconds", "table_bytes", "overlay_bytes", "rocksdb_memory_bytes", "rocksdb_memory_limit_bytes", "loop_lag_seconds", "build_info",
)  # fmt: skip
_COUNTERS: Final = (
    "consumer_records_lost_total", "records_processed_total", "handler_retries_total", "dedupe_hits_total", "dlq_records_total",
    "dlq_fingerprints_total", "dlq_write_failures_total", "dlq_replayed_total", "transactions_total", "producer_rebuilds_total",
    "rebalances_total",
)  # fmt: skip
_HISTOGRAMS: Final = (
    "handler_duration_seconds", "transaction_duration_seconds", "commit_duration_seconds", "rebalance_duration_seconds",
    "transaction_records",
)  # fmt: skip

NAMES: Final = frozenset(
    f"streamapp_{name}"
    for name in (*_GAUGES, *_COUNTERS, *(f"{each}_{part}" for each in _HISTOGRAMS for part in ("bucket", "sum", "count")))
)
"""Every series' name."""


def named_in(query: str) -> set[str]:
    return set(re.findall(r"\bstreamapp_\w+", query))
