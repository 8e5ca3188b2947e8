"""D01 to D06: whether dead letters can be written, are kept long enough, and are looked after. `streamapp dlq check` runs these alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from streamapp.doctor.check import Check, error, information, unchecked, warning
from streamapp.doctor.facts import DAY, HOUR, CouldNotCheck, Facts, Topic, message_bytes, retention_of, told
from streamapp.doctor.words import allow, alter_topic, create_topic, names, widen_topic
from streamapp.figures import duration
from streamapp.monitor.finding import Finding, Level

SLACK_BYTES: Final = 65_536
"""A dead letter is its record and at most so many bytes of headers."""
KEPT_AT_LEAST: Final = 30 * DAY
UNRESOLVED_AT_MOST: Final = DAY
SOON: Final = 48 * HOUR
VERY_SOON: Final = 6 * HOUR
COUNTED_AT_MOST: Final = 100_000
"""Unresolved ids of a partition that a worker counts one by one (OPERATIONS §1.9)."""


def d01_writable(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    may_declare = app.settings.topics.topic_allow_declare
    for dlq, sources in app.dlqs.items():
        there = facts.existing(sources)
        if facts.topic(dlq) is None:
            if not there:
                continue
            partitions = max(topic.partitions for topic in there)
            create = create_topic(app.broker, dlq, partitions, cleanup_policy="delete", message_timestamp_type="LogAppendTime")
            if not may_declare:
                yield error(
                    "D01", dlq, f"{dlq} does not exist, and STREAMAPP_TOPIC_ALLOW_DECLARE is false",
                    "without it no record can be dead-lettered, and the worker does not start", create,
                )  # fmt: skip
                continue
            refused = told(facts.rights, dlq).may_create.get(dlq)
            if refused is not None:
                yield error(
                    "D01", dlq, f"{dlq} does not exist and cannot be created: {refused}",
                    "without it no record can be dead-lettered, and the worker does not start",
                    f"{create}; or {allow(app.broker, dlq, ('Create', 'Write', 'Describe'), _user(facts))}",
                )  # fmt: skip
            continue
        may_write = told(facts.rights, dlq).may_write.get(dlq)
        if may_write is None:
            yield unchecked("D01", dlq, f"what this user may do to {dlq} is not told")
        elif not may_write:
            yield error(
                "D01", dlq, f"{dlq} may not be written to", "a record that failed for good would have nowhere to go: its partition stands",
                allow(app.broker, dlq, ("Write", "Describe"), _user(facts)),
            )  # fmt: skip


def _user(facts: Facts) -> str:
    return facts.app.settings.broker.sasl_username or "ANONYMOUS"


def d02_partitions(facts: Facts) -> Iterator[Finding]:
    for dlq, sources in _pairs(facts):
        widest = max((topic.partitions for topic in sources), default=0)
        if dlq.partitions < widest:
            yield information(
                "D02", dlq.name, f"{dlq.name} has {dlq.partitions} partitions, its source {widest}",
                "the letters of several source partitions share one: they spread unevenly",
                # A table's changelog has as many partitions as its source: after that, the worker would not start.
                widen_topic(facts.app.broker, dlq.name, widest)
                + (f"; not where {names(readers)} keeps a table of it" if (readers := facts.app.dlq_agents.get(dlq.name)) else ""),
            )  # fmt: skip


def d03_retention(facts: Facts) -> Iterator[Finding]:
    for dlq, sources in _pairs(facts):
        try:
            kept = retention_of(facts.config(dlq.name))
            of_sources = [retention_of(facts.config(source.name)) for source in sources]
        except CouldNotCheck as hidden:
            yield unchecked("D03", dlq.name, hidden.reason)
            continue
        wanted = max([KEPT_AT_LEAST, *(4 * each for each in of_sources if each is not None)])
        endless = any(each is None for each in of_sources)
        if kept is not None and (endless or kept < wanted):
            limit = (
                "its source keeps records for ever"
                if endless
                else f"less than {wanted / DAY:g} d, the larger of 30 d and 4 × its source"
            )
            yield warning(
                "D03", dlq.name, f"{dlq.name} keeps letters {kept / DAY:g} d: {limit}",
                "a letter has to outlive the weeks until somebody mends its cause",
                alter_topic(facts.app.broker, dlq.name, retention_ms=-1 if endless else round(wanted * 1000)),
            )  # fmt: skip


def d04_sizes(facts: Facts) -> Iterator[Finding]:
    for dlq, sources in _pairs(facts):
        try:
            takes = message_bytes(facts.config(dlq.name))
            largest = max((message_bytes(facts.config(source.name)) for source in sources), default=0)
        except CouldNotCheck as hidden:
            yield unchecked("D04", dlq.name, hidden.reason)
            continue
        if sources and takes < largest + SLACK_BYTES:
            yield error(
                "D04", dlq.name, f"{dlq.name} takes {takes} bytes, its source {largest}: it needs {largest + SLACK_BYTES}",
                "a large record's letter loses its value",
                alter_topic(facts.app.broker, dlq.name, max_message_bytes=largest + SLACK_BYTES),
            )  # fmt: skip


def d05_looked_after(facts: Facts) -> Iterator[Finding]:
    for dlq, letters in told(facts.letters).items():
        if letters.oldest is not None and letters.oldest_age is not None and letters.oldest_age > UNRESOLVED_AT_MOST:
            bound = "" if letters.unresolved <= COUNTED_AT_MOST else "; workers count fewer: their gauge is a lower bound"
            yield warning(
                "D05", dlq, f"{letters.unresolved} unresolved in {dlq}, the oldest {letters.oldest} for {duration(letters.oldest_age)}{bound}",
                "nobody has replayed or discarded it for a day", f"streamapp dlq stats --dlq {dlq}",
            )  # fmt: skip
    if facts.app.unloaded is not None:
        return
    readers = facts.app.dlq_agents
    for dlq in facts.app.dlqs:
        topic = facts.topic(dlq)
        if topic is None:
            continue
        if dlq not in readers:
            yield warning(
                "D05", dlq, f"no agent reads {dlq}", "new kinds of dead letters are announced by nobody",
                f'declare one: @app.agent(app.topic("{dlq}", key_type=bytes, value_type=bytes))',
            )  # fmt: skip
            continue
        try:
            held = sum(1 for partition in told(facts.group, dlq).assigned if partition.topic == dlq)
        except CouldNotCheck as hidden:
            yield unchecked("D05", dlq, f"who reads {dlq} now: {hidden.reason}")
            continue
        if held < topic.partitions:
            yield warning(
                "D05", dlq, f"{names(readers[dlq])} runs on {held} of {topic.partitions} partitions of {dlq}",
                "new kinds of dead letters are announced by nobody there", "start a worker: faust -A streamapp worker",
            )  # fmt: skip


def d06_dying(facts: Facts) -> Iterator[Finding]:
    for dlq, letters in told(facts.letters).items():
        if letters.dying is None:
            continue
        try:
            facts.config(dlq)
        except CouldNotCheck as hidden:
            yield unchecked("D06", dlq, hidden.reason)
            continue
        left = letters.dying_left
        if left is not None and left < SOON:
            yield Finding(
                "D06", Level.ERROR if left < VERY_SOON else Level.WARNING, dlq,
                f"{dlq} deletes {letters.dying} in {duration(left)}, unresolved", "what it holds is then lost",
                f"streamapp dlq export --dlq {dlq} > {dlq}.jsonl",
            )  # fmt: skip


def _pairs(facts: Facts) -> Iterator[tuple[Topic, Sequence[Topic]]]:
    """Yield the dead-letter topics that exist, each with those of its sources that do."""
    for dlq, sources in facts.app.loaded().dlqs.items():
        topic = facts.topic(dlq)
        if topic is not None:
            yield topic, facts.existing(sources)


CHECKS: Final = (
    Check(
        id="D01",
        title="dead letters can be written",
        level=Level.ERROR,
        reads=("topics", "rights"),
        look=d01_writable,
        at_start=True,
        refuses=True,
    ),
    Check(
        id="D02",
        title="partitions of the dead-letter topics",
        level=Level.INFORMATION,
        reads=("topics",),
        look=d02_partitions,
        at_start=True,
    ),
    Check(
        id="D03",
        title="retention of dead letters",
        level=Level.WARNING,
        reads=("topics", "configs"),
        look=d03_retention,
        at_start=True,
    ),
    Check(id="D04", title="size of dead letters", level=Level.ERROR, reads=("topics", "configs"), look=d04_sizes, at_start=True),
    Check(
        id="D05",
        title="dead letters are looked after",
        level=Level.WARNING,
        reads=("letters", "topics", "group"),
        look=d05_looked_after,
    ),
    Check(
        id="D06",
        title="dead letters that retention is about to take",
        level=Level.ERROR,
        reads=("letters", "configs"),
        look=d06_dying,
    ),
)

__all__ = ["CHECKS", "SLACK_BYTES"]
