"""`GET /metrics`: a worker's figures as Prometheus reads them, from its status document and the engine's facts.

Base units. A figure that is unknown is absent, and `+Inf` is never. Nothing is asked of a broker or of the engine here, and no label
holds a key, an offset or an id. Only partitions that this worker owns are told, so a sum over workers is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from streamapp.monitor.lag.verdict import Status
from streamapp.monitor.status import Bounds, PartitionStatus, StatusDocument
from streamapp.pipeline.facts import Distribution, EngineFacts
from streamapp.records import Partition

PREFIX: Final = "streamapp_"
ERROR_TYPES: Final = 100
"""Names of errors that a process tells apart; a series each, with every agent and reason."""
OTHER: Final = "other"
OUTCOMES: Final = ("committed", "aborted", "resumed", "unknown")
OF_PARTITION: Final = ("group", "topic", "partition")
BY_PARTITION: Final[Sequence[tuple[str, str, Callable[[PartitionStatus], float | None]]]] = (
    ("lag_records", "Records that are to be read and were not.", lambda row: row.lag),
    ("lag_age_seconds", "Age of the oldest unread record.", lambda row: row.age),
    ("committed_offset", "The group's next offset.", lambda row: row.committed),
    ("log_end_offset", "End of what can be read: the last stable offset.", lambda row: row.end),
    ("log_start_offset", "First offset that retention left.", lambda row: row.log_start),
    ("commit_staleness_seconds", "Seconds since the last commit.", lambda row: row.commit_age),
    ("inflight_records", "Records fetched and not committed.", lambda row: row.in_flight),
    ("open_transaction_blocked_records", "Records behind an open transaction of an upstream.", lambda row: row.blocked),
    (
        "retention_loss_seconds",
        "Seconds until retention deletes an unread record.",
        lambda row: math.inf if row.loss_never else row.loss,
    ),
    ("retention_used_ratio", "Age of the oldest unread record over retention.", lambda row: row.retention_used),
    ("utilization_ratio", "Rate that comes in over the rate that can be worked off.", lambda row: row.utilization),
)


class Exposition(Collector):
    """One process's metrics. Not thread-safe: one scrape at a time."""

    def __init__(self, drain_target: float) -> None:
        """`drain_target`: seconds in which the workers that are asked for would drain the lag."""
        self._drain_target = drain_target
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._document: StatusDocument | None = None
        self._facts: EngineFacts | None = None
        self._totals: dict[tuple[str, ...], tuple[float, float]] = {}
        """Counter and its labels -> what is told beside the present figure, and that figure when it was seen last."""
        self._kinds: set[str] = set()

    content_type: Final = CONTENT_TYPE_LATEST

    def text(self, document: StatusDocument | None, facts: EngineFacts | None) -> bytes:
        """Return the page's body; None where the worker does not know itself yet."""
        self._document, self._facts = document, facts
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        document, facts = self._document, self._facts
        if document is not None:
            yield from self._partitions(document, self._owned(document, facts))
            yield from self._unresolved(document, self._owned(document, facts))
            yield from self._tables(document)
            yield from self._worker(document)
        if facts is not None:
            yield from self._agents(facts)
            yield from self._states(facts, document)
            yield from self._transactions(facts)

    def _owned(self, document: StatusDocument, facts: EngineFacts | None) -> set[Partition]:
        if facts is not None:
            return {lane.partition for lane in facts.lanes}
        return {Partition(row.topic, row.partition) for row in document.partitions if row.state is not None}

    # --- lag

    def _partitions(self, document: StatusDocument, owned: set[Partition]) -> Iterator[Metric]:
        group = document.group.group
        rows = [
            ((group, row.topic, str(row.partition)), row)
            for row in document.partitions
            if Partition(row.topic, row.partition) in owned
        ]
        for name, told, figure in BY_PARTITION:
            family = _gauge(f"consumer_{name}", told, OF_PARTITION)
            for labels, row in rows:
                _add(family, labels, figure(row))
            yield family
        for name, told, interval in (
            ("lag_growth_records_per_second", "How fast lag grows.", lambda row: row.growth),
            ("drain_seconds", "Seconds until nothing is unread, at the present rates.", _drain),
        ):
            family = _gauge(f"consumer_{name}", f"{told} Estimate and 90 % bounds.", (*OF_PARTITION, "bound"))
            for labels, row in rows:
                bounds: Bounds | None = interval(row)
                if bounds is not None:
                    for bound in ("estimate", "low", "high"):
                        family.add_metric([*labels, bound], getattr(bounds, bound))
            yield family
        status = _gauge("consumer_status", "1 for the status that holds, 0 for the others.", (*OF_PARTITION, "status"))
        lost = _counter("consumer_records_lost_total", "Records that retention deleted unread.", OF_PARTITION)
        counted = {} if self._facts is None else {lane.partition: lane.lost for lane in self._facts.lanes}
        for labels, row in rows:
            for each in Status:
                status.add_metric([*labels, each.value], float(row.status == each.value))
            found = counted.get(Partition(row.topic, row.partition))
            self._count(lost, labels, row.lost if found is None else found)
        yield status
        yield lost
        needed = _gauge(
            "consumer_workers_needed", "Workers that this one's partitions need: the sum, rounded up, is the group's.", ("group",)
        )
        _add(needed, (group,), _share_needed([row for _, row in rows], self._drain_target))
        yield needed

    # --- agents and their dead letters

    def _agents(self, facts: EngineFacts) -> Iterator[Metric]:
        processed = _counter("records_processed_total", "Records that agents were done with.", ("agent",))
        hits = _counter("dedupe_hits_total", "Records that were processed before.", ("agent",))
        retries = _counter("handler_retries_total", "Attempts that followed a failed one.", ("agent", "error_type"))
        letters = _counter("dlq_records_total", "Records that were dead-lettered.", ("agent", "error_type", "reason"))
        kinds = _counter("dlq_fingerprints_total", "Kinds of failure among the dead letters.", ("agent",))
        unwritten = _counter("dlq_write_failures_total", "Tries to write a dead letter that failed.", ("agent",))
        replayed = _counter("dlq_replayed_total", "Replayed records that were settled.", ("agent", "outcome"))
        duration = _histogram("handler_duration_seconds", "How long an agent had a record, per attempt.", ("agent",))
        for agent in facts.agents:
            labels = (agent.name,)
            self._count(processed, labels, agent.processed)
            self._count(hits, labels, agent.dedupe_hits)
            self._count(kinds, labels, agent.fingerprints)
            self._count(unwritten, labels, agent.letter_write_failures)
            self._count_by(retries, _summed(((agent.name, self._kind(kind)), n) for kind, n in agent.retries.items()))
            self._count_by(
                letters,
                _summed(((agent.name, self._kind(kind), reason), n) for (kind, reason), n in agent.dead_letters.items()),
            )
            self._count_by(replayed, {(agent.name, outcome): n for outcome, n in agent.replayed.items()})
            _observe(duration, labels, agent.duration)
        yield from (processed, retries, hits, duration, letters, kinds, unwritten, replayed)

    def _states(self, facts: EngineFacts, document: StatusDocument | None) -> Iterator[Metric]:
        """Per agent and number of a partition: where an agent reads several topics, of all of them."""
        labels = ("agent", "partition")
        blocked = _gauge("dlq_blocked_keys", "Keys that wait for a dead letter to be settled.", labels)
        held = _gauge("dlq_held_records", "Records that wait behind blocked keys.", labels)
        is_open = _gauge("breaker_open", "1 while the agent's breaker is open there.", labels)
        suspect = _gauge("partition_suspect", "1 while its records are tried one by one, as some may end the process.", labels)
        told = {} if document is None else {agent.name: agent for agent in document.agents}
        for agent in facts.agents:
            lanes = [lane for lane in facts.lanes if lane.partition.topic in agent.topics]
            for number in sorted({lane.partition.number for lane in lanes}):
                here = [lane for lane in lanes if lane.partition.number == number]
                at = (agent.name, str(number))
                is_open.add_metric(at, float(any(lane.partition in agent.breakers for lane in here)))
                suspect.add_metric(at, float(any(lane.suspect for lane in here)))
                if agent.on_error == "block_key" and (status := told.get(agent.name)) is not None:
                    blocked.add_metric(at, sum(status.blocked_keys.get(str(lane.partition), 0) for lane in here))
                    held.add_metric(at, sum(status.held_records.get(str(lane.partition), 0) for lane in here))
        yield from (blocked, held, is_open, suspect)

    def _unresolved(self, document: StatusDocument, owned: set[Partition]) -> Iterator[Metric]:
        labels = ("topic", "partition")
        count = _gauge("dlq_unresolved_records", "Dead letters that are neither resolved nor discarded.", labels)
        oldest = _gauge("dlq_oldest_unresolved_age_seconds", "Age of the oldest of them.", labels)
        loss = _gauge("dlq_retention_loss_seconds", "Seconds until retention deletes the oldest of them.", labels)
        for row in document.dead_letters:
            if Partition(row.topic, row.partition) not in owned or not row.is_read:
                continue
            at = (row.topic, str(row.partition))
            count.add_metric(at, row.unresolved)
            _add(oldest, at, None if row.oldest is None else max(0.0, document.at - row.oldest))
            _add(loss, at, row.loss)
        yield from (count, oldest, loss)

    # --- transactions, tables, the worker

    def _transactions(self, facts: EngineFacts) -> Iterator[Metric]:
        told = facts.transactions
        transactions = _counter("transactions_total", "Transactions by what became of them.", ("outcome",))
        for outcome in OUTCOMES:
            self._count(transactions, (outcome,), told.outcomes.get(outcome, 0))
        rebuilds = _counter("producer_rebuilds_total", "Producers that were replaced under their id.", ("reason",))
        self._count_by(rebuilds, {(reason,): n for reason, n in told.rebuilds.items()})
        rebalances = _counter("rebalances_total", "Rebalances that this worker took part in.", ())
        self._count(rebalances, (), told.rebalances)
        yield from (transactions, rebuilds, rebalances)
        for name, what, distribution in (
            ("transaction_duration_seconds", "From a unit's first record to the end of its commit.", told.duration),
            ("commit_duration_seconds", "From the closing of a unit to the end of its commit.", told.commit_duration),
            ("rebalance_duration_seconds", "From the first revoke or assign until all partitions run.", told.rebalance_duration),
            ("transaction_records", "Source records of a unit.", told.records),
        ):
            family = _histogram(name, what, ())
            _observe(family, (), distribution)
            yield family
        overlay = _gauge("overlay_bytes", "Table writes that are not on disk yet.", ())
        overlay.add_metric([], told.overlay_bytes)
        yield overlay
        memory, limit = (
            facts.store_memory,
            _gauge("rocksdb_memory_limit_bytes", "rocksdb_memory_bytes, which all tables share.", ()),
        )
        held = _gauge("rocksdb_memory_bytes", "Of it, what is used: it fills as tables grow, and stays there.", ())
        _add(held, (), None if memory is None else memory.held)
        _add(limit, (), None if memory is None else memory.limit)
        yield from (held, limit)

    def _tables(self, document: StatusDocument) -> Iterator[Metric]:
        labels = ("table", "partition")
        remaining = _gauge("restore_remaining_records", "Changelog records that the restore has still to read.", labels)
        waiting = _gauge("restore_lso_wait_seconds", "How long an open transaction has held the restore up.", labels)
        size = _gauge("table_bytes", "Bytes of the table partition.", labels)
        for row in document.tables:
            at = (row.table, str(row.partition))
            _add(remaining, at, row.remaining)
            _add(waiting, at, row.waiting)
            _add(size, at, row.bytes)
        yield from (remaining, waiting, size)

    def _worker(self, document: StatusDocument) -> Iterator[Metric]:
        lag = _gauge("loop_lag_seconds", "How late the event loop was at the last look.", ())
        _add(lag, (), document.worker.loop_lag)
        yield lag
        build = _gauge("build_info", "1; what runs stands in its labels.", ("version", "librdkafka"))
        build.add_metric([document.worker.version, document.worker.librdkafka], 1)
        yield build

    # --- counters

    def _count(self, family: CounterMetricFamily, labels: Sequence[str], figure: float | None) -> None:
        """Add what the counter is at. It never falls: where the figure begins anew, it goes on from where it was."""
        if figure is None:
            return
        key = (family.name, *labels)
        before, seen = self._totals.get(key, (0.0, 0.0))
        if figure < seen:
            before += seen
        self._totals[key] = before, figure
        family.add_metric(labels, before + figure)

    def _count_by(self, family: CounterMetricFamily, figures: Mapping[tuple[str, ...], float]) -> None:
        for labels, figure in figures.items():
            self._count(family, labels, figure)

    def _kind(self, error_type: str) -> str:
        """Return the label's value of an error's name: those beyond the bound share one."""
        if error_type not in self._kinds:
            if len(self._kinds) >= ERROR_TYPES:
                return OTHER
            self._kinds.add(error_type)
        return error_type


def _share_needed(rows: Sequence[PartitionStatus], drain_target: float) -> float | None:
    """Return how many workers like this one its partitions need, at most one each. Not rounded: workers that each need 0.6 are not two.

    What a worker can do is what its partitions were seen to do together when busy, as they share its time.
    """
    produced = [row.produced_rate for row in rows if row.produced_rate is not None]
    unread = [row.lag for row in rows if row.lag is not None]
    if not rows or len(produced) < len(rows) or len(unread) < len(rows) or all(row.capacity is None for row in rows):
        return None
    capacity = sum((row.consumed_rate if row.capacity is None else row.capacity) or 0.0 for row in rows)
    if not capacity:
        return None
    return min((sum(produced) + sum(unread) / drain_target) / capacity, float(len(rows)))


def _drain(row: PartitionStatus) -> Bounds | None:
    """Return when the lag is gone; never, where the trend is known and does not lead there."""
    if row.drain is not None or row.growth is None or not row.lag:
        return row.drain
    return Bounds(estimate=math.inf, low=math.inf, high=math.inf)


def _gauge(name: str, told: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, told, labels=labels)


def _counter(name: str, told: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, told, labels=labels)


def _histogram(name: str, told: str, labels: Sequence[str]) -> HistogramMetricFamily:
    return HistogramMetricFamily(PREFIX + name, told, labels=labels)


def _add(family: GaugeMetricFamily, labels: Sequence[str], figure: float | None) -> None:
    if figure is not None:
        family.add_metric(labels, figure)


def _observe(family: HistogramMetricFamily, labels: Sequence[str], seen: Distribution) -> None:
    counted, buckets = 0, []
    for bound, count in zip((*seen.bounds, math.inf), seen.counts, strict=True):
        counted += count
        buckets.append(("+Inf" if math.isinf(bound) else str(float(bound)), float(counted)))
    family.add_metric(labels, buckets, seen.total)


def _summed(figures: Iterator[tuple[tuple[str, ...], int]]) -> dict[tuple[str, ...], int]:
    """Return the figures by labels, those of equal labels together."""
    found: dict[tuple[str, ...], int] = {}
    for labels, figure in figures:
        found[labels] = found.get(labels, 0) + figure
    return found


__all__ = ["ERROR_TYPES", "OTHER", "PREFIX", "Exposition"]
