"""What the broker lets this user do with the app's dead-letter topics, found out without doing it."""

from __future__ import annotations

from collections.abc import Mapping

from streamapp.doctor.facts import App, Rights
from streamapp.kafka.examiner import Examiner


def rights_of(examiner: Examiner, app: App, partitions: Mapping[str, int]) -> Rights:
    """Return the rights on dead-letter topics; `partitions`: the topics that exist, with their counts. Raises BrokerUnreachable, NotAllowed."""
    may_declare = app.settings.topics.topic_allow_declare
    widest = {
        dlq: max((partitions[source] for source in sources if source in partitions), default=0)
        for dlq, sources in app.dlqs.items()
    }
    return Rights(
        may_write=examiner.may_write([dlq for dlq in app.dlqs if dlq in partitions]),
        # Without a source there is nothing to bury, and the worker makes no such topic yet.
        may_create={
            dlq: examiner.why_not_created(dlq, count, {"cleanup.policy": "delete"})
            for dlq, count in widest.items()
            if may_declare and count and dlq not in partitions
        },
    )


__all__ = ["rights_of"]
