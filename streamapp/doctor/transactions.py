"""X01 to X03: transactions that hold readers up, and what lets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from streamapp.doctor.check import Check, error, unchecked, warning
from streamapp.doctor.facts import Facts, OpenTransaction, told
from streamapp.figures import duration
from streamapp.monitor.finding import Finding, Level

CLEAN_UP: Final = 10.0
"""Seconds after its timeout within which a broker ends a transaction: transaction.abort.timed.out.transaction.cleanup.interval.ms."""
ENDED: Final = frozenset({"CompleteCommit", "CompleteAbort", "Empty", "Dead"})
"""What a coordinator calls a transaction that is over: a partition that still has it open will have it so for ever."""
APART: Final = 5.0
"""Seconds that clocks may differ by."""
AFFECTED: Final = range(30, 34)
"""metadata.version that brokers of Apache Kafka 4.3 and 4.4 know as their newest."""
RELEASES: Final = {30: "4.3", 31: "4.4", 32: "4.4", 33: "4.4"}


def x01_hanging(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    watched = {*app.sources, *app.changelogs}
    for held in told(facts.transactions):
        if held.partition.topic not in watched:
            continue
        limit = (held.timeout or app.settings.transaction.transaction_timeout) + CLEAN_UP
        over = held.state in ENDED
        if not over and held.age is None:
            yield unchecked(
                "X01",
                str(held.partition),
                f"{_stuck(held)}: the broker does not tell how old it is; look again in {duration(limit)}",
            )
        elif over or (held.age or 0.0) > limit:
            lasts = "" if held.age is None else f", open for {duration(held.age)}"
            because = (
                f"its coordinator calls it {held.state}: nobody will end it"
                if over
                else f"the broker should have ended it after {duration(limit)}"
            )
            yield error(
                "X01", str(held.partition), f"{_stuck(held)}{lasts}; {_producer(held)}",
                f"{because}; readers of committed records, restores and offsets wait for it", _abort(held),
            )  # fmt: skip


def _stuck(held: OpenTransaction) -> str:
    return f"{held.partition}: last stable offset {held.stable}, {held.high - held.stable} records behind it"


def _producer(held: OpenTransaction) -> str:
    if held.producer_id is None:
        return "whose it is, the broker does not tell"
    name = "" if held.transactional_id is None else f" ({held.transactional_id})"
    return f"producer id {held.producer_id}, epoch {held.epoch}{name}"


def _abort(held: OpenTransaction) -> str:
    start = held.stable if held.start is None else held.start
    return f"streamapp transactions abort --topic {held.partition.topic} --partition {held.partition.number} --start-offset {start} --execute"


def x02_clocks(facts: Facts) -> Iterator[Finding]:
    ahead = told(facts.clock, "clock of the cluster")
    here = "this machine"
    apart = {here: ahead}
    if isinstance(facts.workers, Sequence):
        # A worker's clock is known against ours, and so against the cluster's.
        apart |= {each.document.worker.worker: ahead - each.clock for each in facts.workers}
    for name, seconds in sorted(apart.items()):
        if abs(seconds) > APART and (name != here or len(apart) == 1):
            ours = facts.now + ahead - seconds
            yield warning(
                "X02", name, f"clocks differ by {duration(abs(seconds))}: {name} {_time(ours)}, the cluster {_time(facts.now + ahead)}",
                "ages, retention and the time to loss are computed from both", "set both by NTP: timedatectl set-ntp true",
            )  # fmt: skip


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def x03_release(facts: Facts) -> Iterator[Finding]:
    level = told(facts.kafka, "brokers")
    if level not in AFFECTED:
        return
    alone = len(told(facts.brokers)) == 1
    yield Finding(
        "X03", Level.ERROR if alone else Level.WARNING, f"Apache Kafka {RELEASES[level]}",
        f"Apache Kafka {RELEASES[level]} on {'a single broker' if alone else 'several brokers'} (KAFKA-20734: 4.3.0 to 4.4.0)",
        "an unclean restart can leave transactions open for ever",
        "use 4.2.x or a later fixed version, or three brokers" if alone else "use 4.2.x or a later fixed version",
    )  # fmt: skip


CHECKS: Final = (
    Check(id="X01", title="transactions that hang", level=Level.ERROR, reads=("transactions",), look=x01_hanging),
    Check(id="X02", title="clocks", level=Level.WARNING, reads=("clock", "workers"), look=x02_clocks),
    Check(
        id="X03",
        title="a release that loses track of transactions",
        level=Level.ERROR,
        reads=("kafka", "brokers"),
        look=x03_release,
        at_start=True,
    ),
)

__all__ = ["CHECKS", "CLEAN_UP", "ENDED"]
