"""Looks at an app's topics on its cluster, and makes of them what a plan says."""

from __future__ import annotations

from collections.abc import Sequence

from streamapp.clock import Deadline
from streamapp.errors import TopologyInvalid
from streamapp.kafka import client_config
from streamapp.kafka.admin import KafkaAdmin
from streamapp.settings import Settings
from streamapp.upkeep.subject import Subject
from streamapp.upkeep.topic_plan import Action, Step, plan


def admin_of(settings: Settings) -> KafkaAdmin:
    return KafkaAdmin(client_config.admin(settings, "topics"))


def look(subject: Subject, timeout: float, *, grow: bool, proposed: int | None) -> list[Step]:
    """Return the plan. Raises BrokerUnreachable."""
    deadline = Deadline.after(max(timeout, 1.0) * 3)
    return plan(subject, lambda: admin_of(subject.settings), deadline, grow=grow, proposed=proposed)


def apply(
    subject: Subject, steps: Sequence[Step], timeout: float, *, grow: bool, proposed: int | None
) -> tuple[list[Step], dict[str, str]]:
    """Do the steps of a plan; return those that were done and those that were not for us to do, and topic -> why one failed.

    Declared topics are made first, and the rest is planned again: a dead-letter topic follows what the broker gave its sources.
    Raises BrokerUnreachable.
    """
    internal = {*subject.dead_letters, *subject.changelogs, subject.status_topic}
    first = [step for step in steps if step.action is Action.CREATE and step.topic not in internal]
    failed = _carry_out(subject.settings, first, timeout)
    rest = look(subject, timeout, grow=grow, proposed=proposed) if first else list(steps)
    made = {step.topic for step in first}
    rest = [step for step in rest if step.topic not in made or step.action is not Action.CREATE]
    return [*first, *rest], failed | _carry_out(subject.settings, rest, timeout)


def _carry_out(settings: Settings, steps: Sequence[Step], timeout: float) -> dict[str, str]:
    admin = admin_of(settings)
    failed: dict[str, str] = {}
    for step in steps:
        deadline = Deadline.after(timeout)
        try:
            if step.action is Action.CREATE:
                replicas = settings.topics.topic_replication_factor if step.replicas < 1 else step.replicas
                admin.create(step.topic, step.partitions or 1, step.config, replicas, deadline)
            elif step.action is Action.SET:
                admin.configure(step.topic, step.config, deadline)
            elif step.action is Action.GROW:
                admin.grow(step.topic, step.partitions or 1, deadline)
        except TopologyInvalid as refused:
            failed[step.topic] = str(refused)
    return failed


__all__ = ["admin_of", "apply", "look"]
