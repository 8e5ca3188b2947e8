"""T01 to T07: what the topics' settings promise, against what the app needs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Final

from streamapp.doctor.check import Check, error, unchecked, warning
from streamapp.doctor.facts import DAY, HOUR, CouldNotCheck, Facts, Topic, message_bytes, retention_of, told
from streamapp.doctor.words import alter_topic, create_topic, names, replicate
from streamapp.figures import duration, size
from streamapp.monitor.finding import Finding, Level
from streamapp.records import Partition

TRANSACTION_STATE: Final = "__transaction_state"
SMALL_VALUE: Final = 200
"""Bytes from which on compression pays."""
SAVED: Final = 0.5
"""Share that lz4 takes off JSON documents of that size, in batches."""
FULL: Final = 0.2
SLACK: Final = 65_536
"""Bytes that limits may differ by: headers and the batch around a record. The defaults differ by less."""
AT_LEAST: Final = DAY
"""Seconds that a source should keep its records: a day's outage, found the next morning."""


def t01_replicas(facts: Facts) -> Iterator[Finding]:
    app, brokers = facts.app.loaded(), told(facts.brokers)
    there = facts.existing(app.all_topics)
    alone = [topic for topic in there if topic.replicas == 1]
    if alone:
        enough = len(brokers) >= 3
        yield Finding(
            "T01", Level.ERROR if enough else Level.WARNING, names(topic.name for topic in alone),
            f"1 replica on {len(brokers)} broker{'s' if len(brokers) > 1 else ''}: {names(topic.name for topic in alone)}",
            "a lost disk is lost data, whatever acks says",
            replicate(app.broker, alone[0].name, alone[0].partitions, 3, brokers) if enough else "run three brokers",
        )  # fmt: skip
    for topic in there:
        if topic.replicas > 1:
            yield from _in_sync(facts, topic)


def _in_sync(facts: Facts, topic: Topic) -> Iterator[Finding]:
    try:
        minimum = int(facts.config(topic.name).get("min.insync.replicas", 1))
    except CouldNotCheck as hidden:
        yield unchecked("T01", topic.name, hidden.reason)
        return
    if minimum >= topic.replicas:
        yield error(
            "T01", topic.name, f"{topic.name}: min.insync.replicas {minimum} of {topic.replicas} replicas",
            "one broker that restarts stops every write", alter_topic(facts.app.broker, topic.name, min_insync_replicas=topic.replicas - 1),
        )  # fmt: skip
    elif minimum < 2 and topic.replicas >= 3:
        yield warning(
            "T01", topic.name, f"{topic.name}: min.insync.replicas {minimum} of {topic.replicas} replicas",
            "acks=all with min.insync 1 is acks=1 after one failure", alter_topic(facts.app.broker, topic.name, min_insync_replicas=2),
        )  # fmt: skip


def t02_transaction_state(facts: Facts) -> Iterator[Finding]:
    brokers = told(facts.brokers)
    state = facts.topic(TRANSACTION_STATE)
    if len(brokers) < 3:
        return
    if state is not None:
        replicas, partitions = state.replicas, state.partitions
    else:
        # It is made with the first transaction, as the broker's setting says.
        config = told(facts.broker_config)
        replicas = int(config.get("transaction.state.log.replication.factor", 3))
        partitions = int(config.get("transaction.state.log.num.partitions", 50))
    if replicas < 3:
        yield error(
            "T02", TRANSACTION_STATE, f"{replicas} replica{'s' if replicas > 1 else ''} on {len(brokers)} brokers",
            "without its state, a transaction can neither commit nor end",
            replicate(facts.app.broker, TRANSACTION_STATE, partitions, 3, brokers)
            if state is not None
            else "set transaction.state.log.replication.factor=3 in the brokers' server.properties",
        )  # fmt: skip


def t03_batches(facts: Facts) -> Iterator[Finding]:
    producer = facts.app.settings.producer
    if producer.producer_compression == "none":
        outputs = set(facts.app.loaded().outputs)
        sizes = [
            each for partition, sample in told(facts.samples).items() if partition.topic in outputs for each in sample.value_sizes
        ]
        middle = median(sizes) if sizes else 0
        if middle > SMALL_VALUE:
            yield warning(
                "T03", "STREAMAPP_PRODUCER_COMPRESSION", f"producer_compression none, and half of the values are above {middle:.0f} bytes",
                f"lz4 would save about {SAVED:.0%} of network and disk for little CPU; zstd saves more and costs more",
                "set STREAMAPP_PRODUCER_COMPRESSION=lz4",
            )  # fmt: skip
    if producer.producer_linger == 0:
        fills = [each.document.doctor.batch_fill for each in told(facts.workers)
                 if each.document.doctor is not None and each.document.doctor.batch_fill is not None]  # fmt: skip
        if not fills:
            raise CouldNotCheck("no worker tells how full its batches are", "STREAMAPP_PRODUCER_LINGER")
        if max(fills) < FULL:
            yield warning(
                "T03", "STREAMAPP_PRODUCER_LINGER", f"producer_linger 0, and batches are {max(fills):.1%} full",
                "each request carries little, and the broker does more of them; what waits 5 to 20 ms is still out before its commit",
                "set STREAMAPP_PRODUCER_LINGER=0.01",
            )  # fmt: skip


def t04_policies(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    for name in [*app.changelogs, *app.dlqs]:
        if facts.topic(name) is None:
            continue
        try:
            policy = facts.config(name).get("cleanup.policy", "delete")
        except CouldNotCheck as hidden:
            yield unchecked("T04", name, hidden.reason)
            continue
        if name in app.changelogs and "compact" not in policy:
            yield error(
                "T04", name, f"changelog {name} has cleanup.policy={policy}", "retention deletes table rows: they are lost on a restore",
                alter_topic(app.broker, name, cleanup_policy="compact"),
            )  # fmt: skip
        if name in app.dlqs and "compact" in policy:
            yield error(
                "T04", name, f"dead-letter topic {name} has cleanup.policy={policy}", "letters of one key overwrite each other",
                alter_topic(app.broker, name, cleanup_policy="delete"),
            )  # fmt: skip


def t05_retention(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    outage = _longest_outage(facts)
    losses = _losses(facts)
    for topic in facts.existing(set(app.sources) - set(app.dlqs)):
        try:
            kept = retention_of(facts.config(topic.name))
        except CouldNotCheck as hidden:
            yield unchecked("T05", topic.name, hidden.reason)
            continue
        if kept is None:
            continue
        needed = max(AT_LEAST, 3 * outage)
        if kept < needed:
            because = "a day" if needed == AT_LEAST else f"3 × the longest outage seen, {duration(outage)}"
            yield warning(
                "T05", topic.name, f"{topic.name} keeps records {duration(kept)}: less than {because}",
                "an outage that lasts longer loses records unread", alter_topic(app.broker, topic.name, retention_ms=round(needed * 1000)),
            )  # fmt: skip
        dying = {
            partition: left
            for partition, left in losses(kept).items()
            if partition.topic == topic.name and left < min(6 * HOUR, kept / 4)
        }
        if dying:
            first = min(dying, key=lambda partition: dying[partition])
            yield error(
                "T05", topic.name, f"{first} loses unread records in {duration(dying[first])}",
                "retention deletes them whether or not they were read",
                alter_topic(app.broker, topic.name, retention_ms=round(2 * max(kept, DAY) * 1000)),
            )  # fmt: skip


def _longest_outage(facts: Facts) -> float:
    """Return the longest that a worker was away, as far as workers tell."""
    told_by = facts.workers if isinstance(facts.workers, Sequence) else ()
    return max(
        (took for each in told_by if each.document.doctor is not None for took in each.document.doctor.restarts), default=0.0
    )


def _losses(facts: Facts) -> Callable[[float], dict[Partition, float]]:
    """Return a function from retention to the seconds until unread records of a partition are deleted; where none are, it is absent.

    A worker's estimate counts pace and size limits in; without one, retention less the age of the oldest unread record is the least.
    """
    if isinstance(facts.workers, Sequence) and facts.workers:
        rows = [row for each in facts.workers for row in each.document.partitions if row.loss is not None]
        return lambda kept: {Partition(row.topic, row.partition): row.loss or 0.0 for row in rows}
    ages = told(facts.ages)
    return lambda kept: {partition: max(0.0, kept - age) for partition, age in ages.items() if age > 0}


def t06_record_sizes(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    producer, fetch = app.settings.producer.producer_max_request_size, app.settings.stream.consumer_max_fetch_size
    # Dead-letter topics take more than their sources on purpose (D04).
    sources = set(app.sources) - set(app.dlqs)
    for topic in facts.existing([*sorted(sources), *app.outputs]):
        try:
            takes = message_bytes(facts.config(topic.name))
        except CouldNotCheck as hidden:
            yield unchecked("T06", topic.name, hidden.reason)
            continue
        numbers = f"producer {size(producer)}, {topic.name} {size(takes)}, fetch {size(fetch)}"
        if topic.name in app.outputs and producer > takes + SLACK:
            yield warning(
                "T06", topic.name, numbers, "an output between the two is refused by the broker, and its record dead-lettered",
                f"set STREAMAPP_PRODUCER_MAX_REQUEST_SIZE={takes}, or {alter_topic(app.broker, topic.name, max_message_bytes=producer)}",
            )  # fmt: skip
        elif topic.name in app.outputs and takes > producer + SLACK:
            yield warning(
                "T06", topic.name, numbers, "an output that the topic would take is dead-lettered by the worker",
                f"set STREAMAPP_PRODUCER_MAX_REQUEST_SIZE={takes}",
            )  # fmt: skip
        elif topic.name in sources and takes > fetch + SLACK:
            yield warning(
                "T06", topic.name, numbers, "a record above the fetch size comes alone, one request each",
                f"set STREAMAPP_CONSUMER_MAX_FETCH_SIZE={takes}",
            )  # fmt: skip


def t07_topics_by_accident(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    missing = [name for name in app.all_topics if facts.topic(name) is None]
    if missing and told(facts.broker_config).get("auto.create.topics.enable", "true") == "true":
        partitions = app.settings.topics.topic_partitions
        yield warning(
            "T07", names(missing), f"the broker creates topics that are asked for, and {names(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            "a reader or a typing error makes them, with the broker's partition count and not the app's",
            f"{create_topic(app.broker, missing[0], partitions)}; and set auto.create.topics.enable=false in the brokers' server.properties",
        )  # fmt: skip


CHECKS: Final = (
    Check(
        id="T01",
        title="replicas of the topics",
        level=Level.ERROR,
        reads=("topics", "configs", "brokers"),
        look=t01_replicas,
        at_start=True,
    ),
    Check(
        id="T02",
        title="replicas of the transaction state",
        level=Level.ERROR,
        reads=("topics", "brokers", "broker_config"),
        look=t02_transaction_state,
        at_start=True,
    ),
    Check(id="T03", title="compression and batches", level=Level.WARNING, reads=("samples", "workers"), look=t03_batches),
    Check(
        id="T04",
        title="clean-up policies",
        level=Level.ERROR,
        reads=("topics", "configs"),
        look=t04_policies,
        at_start=True,
        refuses=True,
    ),
    Check(
        id="T05",
        title="retention of the sources",
        level=Level.ERROR,
        reads=("topics", "configs", "ages", "workers"),
        look=t05_retention,
    ),
    Check(id="T06", title="record sizes", level=Level.WARNING, reads=("topics", "configs"), look=t06_record_sizes, at_start=True),
    Check(
        id="T07",
        title="topics created by accident",
        level=Level.WARNING,
        reads=("topics", "broker_config"),
        look=t07_topics_by_accident,
        at_start=True,
    ),
)

__all__ = ["CHECKS"]
