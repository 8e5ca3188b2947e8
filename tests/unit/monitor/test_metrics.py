"""`/metrics` tells the names, types and labels that are promised, each figure as it is, nothing that is unknown, and no falling counter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamapp.monitor.metrics import ERROR_TYPES, OTHER, Exposition
from streamapp.monitor.status import Bounds, StatusDocument
from streamapp.pipeline.facts import EngineFacts, StoreMemory
from streamapp.records import Partition
from tests.support.operator_figures import (
    NOW,
    agent,
    agent_status,
    distribution,
    document,
    facts,
    lane,
    partition,
    table,
    unresolved,
    whole_partition,
)

GTP = {"group", "topic", "partition"}
PROMISED: Mapping[str, tuple[str, set[str]]] = {
    "consumer_lag_records": ("gauge", GTP),
    "consumer_lag_age_seconds": ("gauge", GTP),
    "consumer_committed_offset": ("gauge", GTP),
    "consumer_log_end_offset": ("gauge", GTP),
    "consumer_log_start_offset": ("gauge", GTP),
    "consumer_commit_staleness_seconds": ("gauge", GTP),
    "consumer_inflight_records": ("gauge", GTP),
    "consumer_open_transaction_blocked_records": ("gauge", GTP),
    "consumer_retention_loss_seconds": ("gauge", GTP),
    "consumer_retention_used_ratio": ("gauge", GTP),
    "consumer_utilization_ratio": ("gauge", GTP),
    "consumer_lag_growth_records_per_second": ("gauge", GTP | {"bound"}),
    "consumer_drain_seconds": ("gauge", GTP | {"bound"}),
    "consumer_status": ("gauge", GTP | {"status"}),
    "consumer_records_lost_total": ("counter", GTP),
    "consumer_workers_needed": ("gauge", {"group"}),
    "records_processed_total": ("counter", {"agent"}),
    "handler_retries_total": ("counter", {"agent", "error_type"}),
    "dedupe_hits_total": ("counter", {"agent"}),
    "handler_duration_seconds": ("histogram", {"agent"}),
    "dlq_records_total": ("counter", {"agent", "error_type", "reason"}),
    "dlq_fingerprints_total": ("counter", {"agent"}),
    "dlq_write_failures_total": ("counter", {"agent"}),
    "dlq_replayed_total": ("counter", {"agent", "outcome"}),
    "dlq_unresolved_records": ("gauge", {"topic", "partition"}),
    "dlq_oldest_unresolved_age_seconds": ("gauge", {"topic", "partition"}),
    "dlq_retention_loss_seconds": ("gauge", {"topic", "partition"}),
    "dlq_blocked_keys": ("gauge", {"agent", "partition"}),
    "dlq_held_records": ("gauge", {"agent", "partition"}),
    "breaker_open": ("gauge", {"agent", "partition"}),
    "partition_suspect": ("gauge", {"agent", "partition"}),
    "transactions_total": ("counter", {"outcome"}),
    "producer_rebuilds_total": ("counter", {"reason"}),
    "rebalances_total": ("counter", set()),
    "transaction_duration_seconds": ("histogram", set()),
    "commit_duration_seconds": ("histogram", set()),
    "rebalance_duration_seconds": ("histogram", set()),
    "transaction_records": ("histogram", set()),
    "restore_remaining_records": ("gauge", {"table", "partition"}),
    "restore_lso_wait_seconds": ("gauge", {"table", "partition"}),
    "table_bytes": ("gauge", {"table", "partition"}),
    "overlay_bytes": ("gauge", set()),
    "rocksdb_memory_bytes": ("gauge", set()),
    "rocksdb_memory_limit_bytes": ("gauge", set()),
    "loop_lag_seconds": ("gauge", set()),
    "build_info": ("gauge", {"version", "librdkafka"}),
}
"""The table of OPERATIONS §5.1, and the memory of tables."""


def exposition() -> Exposition:
    return Exposition(drain_target=900.0)


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(page: Exposition, document: StatusDocument | None, facts: EngineFacts | None) -> Series:
    """Return every sample that the page has, as Prometheus' own parser reads it."""
    text = page.text(document, facts).decode()
    return {
        (sample.name.removeprefix("streamapp_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((name, frozenset(labels.items())))


def names(series: Series) -> set[str]:
    return {name for name, _ in series}


BUSY = replace(
    facts(
        lanes=(lane(), lane(number=1, suspect=True), lane("orders-dlq")),
        agents=(
            agent(
                on_error="block_key",
                processed=41,
                duration=distribution(3, 0, 2, total=0.055),
                retries={"TimeoutError": 4},
                dedupe_hits=2,
                dead_letters={("ValueError", "permanent"): 1},
                fingerprints=1,
                letter_write_failures=1,
                replayed={"resolved": 1},
                breakers={Partition("orders", 1): NOW - 5},
            ),
        ),
        outcomes={"committed": 9, "aborted": 1},
        rebuilds={"fenced": 1},
        overlay_bytes=512,
        rebalances=2,
    ),
    store_memory=StoreMemory(limit=128, held=77),
)
TOLD = document(
    whole_partition(),
    partition(
        number=1,
        lag=7,
        produced_rate=1.0,
        growth=Bounds(estimate=-5.0, low=-6.0, high=-4.0),
        drain=Bounds(estimate=1.4, low=1.2, high=1.75),
    ),
    agents=(agent_status(on_error="block_key", blocked_keys={"orders/1": 2}, held_records={"orders/1": 9}),),
    tables=(table(bytes=4096, remaining=12, waiting=3.5),),
    dead_letters=(unresolved(unresolved=31, oldest=NOW - 68_640.0, loss=2_520_000.0),),
    loop_lag=0.002,
)


def test_names_types_and_labels_are_those_of_the_table_and_no_others() -> None:
    families = list(text_string_to_metric_families(exposition().text(TOLD, BUSY).decode()))
    told = {
        family.name.removeprefix("streamapp_") + ("_total" if family.type == "counter" else ""): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in families
    }
    assert told == PROMISED
    assert all(family.name.startswith("streamapp_") and family.samples for family in families)


def test_a_partition_is_told_as_the_document_has_it() -> None:
    series = read(exposition(), TOLD, BUSY)
    at = {"group": "shop", "topic": "orders", "partition": "0"}
    figures = {
        name: value(series, f"consumer_{name}", **at)
        for name in (
            "lag_records", "lag_age_seconds", "committed_offset", "log_end_offset", "log_start_offset", "commit_staleness_seconds",
            "inflight_records", "open_transaction_blocked_records", "retention_loss_seconds", "utilization_ratio",
        )
    }  # fmt: skip
    assert figures == {
        "lag_records": 90_000,
        "lag_age_seconds": 750,
        "committed_offset": 1_204_400,
        "log_end_offset": 1_294_400,
        "log_start_offset": 900_000,
        "commit_staleness_seconds": 0.2,
        "inflight_records": 512,
        "open_transaction_blocked_records": 10,
        "retention_loss_seconds": 513_900,
        "utilization_ratio": 0.28,
    }
    growth = {bound: value(series, "consumer_lag_growth_records_per_second", **at, bound=bound) for bound in ("low", "high")}
    assert growth == {"low": 16.1, "high": 23.9}
    holding = {dict(labels)["status"] for (name, labels), one in series.items() if name == "consumer_status" and one == 1}
    assert holding == {"FALLING_BEHIND", "UNKNOWN"}  # one each
    assert sum(1 for name, _ in series if name == "consumer_status") == 2 * 8


def test_memory_of_tables_is_told_with_its_bound() -> None:
    series = read(exposition(), TOLD, BUSY)
    assert (value(series, "rocksdb_memory_bytes"), value(series, "rocksdb_memory_limit_bytes")) == (77, 128)
    assert not {name for name in names(read(exposition(), TOLD, facts())) if name.startswith("rocksdb_")}


def test_what_is_unknown_is_absent_and_never_is_infinite() -> None:
    unknown = read(exposition(), document(partition()), facts(lanes=(lane(),)))
    assert {name for name in names(unknown) if name.startswith("consumer_")} == {"consumer_status", "consumer_records_lost_total"}
    row = partition(lag=10, growth=Bounds(estimate=2.0, low=1.0, high=3.0), loss_never=True)
    never = read(exposition(), document(row), facts(lanes=(lane(),)))
    at = {"group": "shop", "topic": "orders", "partition": "0"}
    assert value(never, "consumer_retention_loss_seconds", **at) == math.inf
    assert value(never, "consumer_drain_seconds", **at, bound="estimate") == math.inf
    assert value(never, "consumer_lag_age_seconds", **at) is None


def test_a_drain_that_is_under_way_and_one_that_is_not_needed() -> None:
    series = read(exposition(), TOLD, BUSY)
    assert value(series, "consumer_drain_seconds", group="shop", topic="orders", partition="1", bound="high") == 1.75
    level = partition(lag=0, growth=Bounds(estimate=0.0, low=0.0, high=0.0))
    assert "consumer_drain_seconds" not in names(read(exposition(), document(level), facts(lanes=(lane(),))))


def test_workers_that_are_needed_add_up() -> None:
    """The worked example of OPERATIONS §3.3: eight partitions, 420 records/s of a worker, 5 workers."""

    def needed(numbers: range, capacity: float | None, **differing: float | None) -> float | None:
        row: dict[str, Any] = {"lag": 90_000, "produced_rate": 120.0, "consumed_rate": 100.0, "capacity": capacity}
        rows = [partition(number=number, **{**row, **differing}) for number in numbers]
        series = read(exposition(), document(*rows), facts(lanes=tuple(lane(number=number) for number in numbers)))
        return value(series, "consumer_workers_needed", group="shop")

    halves = [needed(range(4), 105.0), needed(range(4, 8), 105.0)]
    assert math.ceil(sum(half or 0 for half in halves)) == 5
    assert needed(range(8), 52.5) == pytest.approx(sum(half or 0 for half in halves))
    assert needed(range(8), None) is None and needed(range(8), 52.5, produced_rate=None) is None
    assert needed(range(2), 1.0) == 2, "more than one worker a partition cannot help"


def test_partitions_of_other_workers_are_theirs_to_tell() -> None:
    others = document(partition(lag=1), partition(number=5, lag=3, state="running"), dead_letters=(unresolved(number=4),))
    series = read(exposition(), others, facts(lanes=(lane(),)))
    assert {dict(labels)["partition"] for (name, labels) in series if name == "consumer_lag_records"} == {"0"}
    assert "dlq_unresolved_records" not in names(series)


def test_agents_breakers_and_suspects_are_told_per_partition() -> None:
    series = read(exposition(), TOLD, BUSY)
    first, second = {"agent": "prices", "partition": "0"}, {"agent": "prices", "partition": "1"}
    for name, expected in (("breaker_open", 1), ("partition_suspect", 1), ("dlq_blocked_keys", 2), ("dlq_held_records", 9)):
        assert (value(series, name, **first), value(series, name, **second)) == (0, expected), name
    assert value(series, "records_processed_total", agent="prices") == 41
    assert value(series, "dlq_records_total", agent="prices", error_type="ValueError", reason="permanent") == 1
    assert value(series, "dlq_replayed_total", agent="prices", outcome="resolved") == 1


def test_a_histogram_counts_up_to_its_bounds() -> None:
    series = read(exposition(), TOLD, BUSY)
    up_to = {
        dict(labels)["le"]: count
        for (name, labels), count in series.items()
        if name == "handler_duration_seconds_bucket" and ("agent", "prices") in labels
    }
    assert (up_to["0.005"], up_to["0.01"], up_to["0.025"], up_to["60.0"], up_to["+Inf"]) == (3, 3, 5, 5, 5)
    assert value(series, "handler_duration_seconds_sum", agent="prices") == 0.055


def test_dead_letters_that_were_not_all_read_have_no_count() -> None:
    at = {"topic": "orders-dlq", "partition": "0"}
    series = read(exposition(), TOLD, BUSY)
    assert value(series, "dlq_unresolved_records", **at) == 31
    assert value(series, "dlq_oldest_unresolved_age_seconds", **at) == 68_640
    reading = document(dead_letters=(unresolved(unresolved=3, is_read=False),))
    assert "dlq_unresolved_records" not in names(read(exposition(), reading, BUSY))


def test_counters_go_on_where_the_engine_began_anew() -> None:
    """A rebalance hands a partition away and back, an engine is made anew: its figures start at 0, the counters do not."""
    one = exposition()
    seen: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for processed, lost in ((5, 3), (9, 3), (2, 0), (4, 2)):
        now = facts(lanes=(lane(lost=lost),), agents=(agent(processed=processed, dead_letters={("E", "permanent"): processed}),))
        series = read(one, document(partition()), now)
        counters = {key: figure for key, figure in series.items() if key[0].endswith("_total")}
        assert all(counters[key] >= before for key, before in seen.items())
        seen = counters
    assert seen["records_processed_total", frozenset({("agent", "prices")})] == 9 + 4
    assert seen["consumer_records_lost_total", frozenset({("group", "shop"), ("topic", "orders"), ("partition", "0")})] == 3 + 2


def test_losses_that_the_engine_does_not_count_are_those_of_the_document() -> None:
    one = exposition()
    for lost in (0, 40, 0, 2):
        series = read(one, document(partition(lost=lost)), facts(lanes=(lane(),)))
    assert value(series, "consumer_records_lost_total", group="shop", topic="orders", partition="0") == 42


def test_names_of_errors_beyond_the_bound_share_one_for_good() -> None:
    one = exposition()
    many = {f"Error{number}": 1 for number in range(ERROR_TYPES + 30)}
    first = read(one, None, facts(agents=(agent(retries=many),)))
    kinds = {dict(labels)["error_type"]: count for (name, labels), count in first.items() if name == "handler_retries_total"}
    assert len(kinds) == ERROR_TYPES + 1 and kinds[OTHER] == 30
    late = {"Error129": 5, "Error0": 1}
    second = read(one, None, facts(agents=(agent(retries=late, dead_letters={("New", "permanent"): 1}),)))
    assert value(second, "dlq_records_total", agent="prices", error_type=OTHER, reason="permanent") == 1
    assert value(second, "handler_retries_total", agent="prices", error_type="Error129") is None


@pytest.mark.parametrize("shown", [None, document(partition(lag=1))])
def test_a_worker_that_does_not_run_yet_has_a_page_all_the_same(shown: StatusDocument | None) -> None:
    series = read(exposition(), shown, None)
    assert ("build_info" in names(series)) is (shown is not None)
    assert not any(name.endswith("_total") for name in names(series) if not name.startswith("consumer_"))
