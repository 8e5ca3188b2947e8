"""The checks that a worker makes before it takes partitions: told once in the log, and some refuse the start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from streamapp.clock import Deadline
from streamapp.doctor.catalogue import AT_START, findings
from streamapp.doctor.gather import Gatherer
from streamapp.doctor.subject import subject
from streamapp.errors import BrokerUnreachable, StreamAppError, TopologyInvalid
from streamapp.events import Event, log_event
from streamapp.kafka import client_config
from streamapp.kafka.script_producer import ScriptProducer
from streamapp.monitor.finding import Finding, Level
from streamapp.records import Outgoing
from streamapp.worker.meta import TopicRow, encode, meta_topic, topic_key

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.doctor.facts import Facts
    from streamapp.identity import DataDir
    from streamapp.worker.topology import Declared

log = logging.getLogger(__name__)

TIMEOUT: Final = 5.0
"""Seconds for one answer. The broker has just answered; what it does not tell by then is left unchecked rather than waited for."""
REFUSING: Final = frozenset(check.id for check in AT_START if check.refuses)
_LOGGED: Final = {
    Level.ERROR: logging.ERROR,
    Level.WARNING: logging.WARNING,
    Level.INFORMATION: logging.INFO,
    Level.UNCHECKED: logging.INFO,
}


def examine_start(app: StreamApp, declared: Declared, directory: DataDir) -> list[Finding]:
    """Return what the checks of a start find, and log each. Blocks: on a thread. Raises TopologyInvalid: one of them refuses the start."""
    gatherer = Gatherer(subject(app, declared), TIMEOUT, directory=directory)
    try:
        facts = gatherer.facts(AT_START)
    except BrokerUnreachable as silent:
        # It answered a moment ago, and will again: the engine waits for it, the doctor does not.
        log_event(log, logging.INFO, Event.DOCTOR_FINDING, f"could not check anything: {silent}")
        return []
    finally:
        gatherer.close()
    found = findings(AT_START, facts)
    refuse(found)
    for each in found:
        fix = f"; {each.fix}" if each.fix else ""
        word = "could not check: " if each.level is Level.UNCHECKED else ""
        log_event(
            log, _LOGGED[each.level], Event.DOCTOR_FINDING, f"{each.id}: {word}{each.line}: {each.why}{fix}",
            check=each.id, found=str(each.level), subject=each.subject,
        )  # fmt: skip
    remember(facts)
    return found


def refuse(found: list[Finding]) -> None:
    """Raises TopologyInvalid: the worst of what was found refuses a start."""
    for each in found:
        if each.id in REFUSING and each.level is Level.ERROR:
            raise TopologyInvalid(f"{each.id}: {each.line}: {each.why}; {each.fix}")


def remember(facts: Facts) -> None:
    """Write down with how many partitions sources are seen first, and since when they have more. Nothing depends on it."""
    rows = rows_to_write(facts)
    if not rows:
        return
    settings = facts.app.settings
    failures: list[Exception] = []
    try:
        producer = ScriptProducer(client_config.idempotent_producer(settings, f"{facts.worker}-doctor"))
        try:
            for topic, row in rows.items():
                record: Outgoing = (meta_topic(facts.app.app_id), encode(row), topic_key(topic), 0, 0, [])
                producer.produce(record, lambda failure, *_: failures.append(failure) if failure else None)
            unsent = producer.flush(Deadline.after(TIMEOUT))
        finally:
            producer.close()
    except StreamAppError as failure:
        failures.append(failure)
        unsent = 0
    if failures or unsent:
        told = failures[0] if failures else "no answer in time"
        log_event(
            log,
            logging.INFO,
            Event.DOCTOR_FINDING,
            f"P02: partition counts were not written down: {told}; tried at the next start",
        )


def rows_to_write(facts: Facts) -> dict[str, TopicRow]:
    """Return the rows of sources that are new, or have grown since their row was written."""
    seen, topics = facts.topics_seen, facts.topics
    if not isinstance(seen, Mapping) or not isinstance(topics, Mapping) or meta_topic(facts.app.app_id) not in topics:
        return {}
    rows: dict[str, TopicRow] = {}
    for name in facts.app.sources:
        topic, row = topics.get(name), seen.get(name)
        if topic is None:
            continue
        if row is None:
            rows[name] = TopicRow(partitions=topic.partitions, seen=facts.now)
        elif topic.partitions > (row.grown_to or row.partitions):
            rows[name] = TopicRow(partitions=row.partitions, seen=row.seen, grown_to=topic.partitions, grown_at=facts.now)
    return rows


__all__ = ["examine_start", "refuse", "remember", "rows_to_write"]
