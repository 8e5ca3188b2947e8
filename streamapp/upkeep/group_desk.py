"""An app's group from outside: who is in it, where it stands, and its offsets set anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamapp.errors import BrokerUnreachable
from streamapp.kafka.groups import GroupNotEmpty, Member, members_of, set_offsets
from streamapp.kafka.inspector import Inspector
from streamapp.records import Partition
from streamapp.settings import Settings
from streamapp.upkeep.offsets import Place
from streamapp.upkeep.refusals import NothingMatched, Refused
from streamapp.upkeep.subject import Subject

NAMED = 5
"""Members that a refusal names."""


def require_empty(settings: Settings, timeout: float) -> None:
    """Raises Refused: workers are in the group. Raises NotAllowed, BrokerUnreachable."""
    if members := members_of(settings, timeout):
        raise Refused(occupied(settings, members))


def occupied(settings: Settings, members: Iterable[Member]) -> str:
    """Say who is in the group, and how it gets empty."""
    names = sorted({each.instance_id or each.client_id for each in members})
    shown = ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
    return (
        f"group {settings.identity.app_id} is not empty: {shown}; stop its workers, and wait: a stopped static member stays until its "
        f"session timeout of {settings.group.session_timeout:g} s is over"
    )


class OffsetDesk:
    """One thread. `close` it. Calls raise BrokerUnreachable: no answer in time."""

    def __init__(self, subject: Subject, timeout: float) -> None:
        self._subject = subject
        self._settings = subject.settings
        self._timeout = timeout
        self._inspector = Inspector(subject.settings, timeout, name="offsets")

    def close(self) -> None:
        self._inspector.close()

    def places(self, topics: Iterable[str], partition: int | None) -> list[Place]:
        """Return where the group stands in these topics, or in the app's sources.

        Raises NothingMatched: there is no such topic or partition. Raises Refused: an open transaction still decides on its offsets.
        """
        layout = self._inspector.layout()
        named = list(dict.fromkeys(topics))
        found: list[Partition] = []
        for topic in named or self._subject.sources:
            there = layout.partitions(topic)
            if not there and named:
                raise NothingMatched(f"--topic {topic}: there is no such topic")
            found += [where for where in there if partition is None or where.number == partition]
        if not found:
            what = f"no partition {partition} in " if partition is not None else "none of these topics exists: "
            raise NothingMatched(f"{what}{', '.join(named or self._subject.sources)}")
        committed = self._inspector.committed(found)
        undecided = [where for where in found if where not in committed]
        if undecided:
            raise Refused(
                f"offsets of {', '.join(map(str, undecided[:NAMED]))} are part of an open transaction, which would overwrite what is set "
                "now: wait until it is over, or see `streamapp transactions list`"
            )
        return [self._place(where, committed[where]) for where in found]

    def at(self, partitions: Iterable[Partition], seconds: float) -> Mapping[Partition, int | None]:
        """Return the first offset of that time or later, None where no record is that late. `seconds`: since 1970."""
        return self._inspector.offsets_at(list(partitions), max(0, round(seconds * 1000)))

    def set(self, targets: Mapping[Partition, int]) -> None:
        """Commit the offsets. Raises Refused: somebody has joined meanwhile. Raises NotAllowed, BrokerUnreachable."""
        try:
            refused = set_offsets(self._settings, targets, self._timeout)
        except GroupNotEmpty as joined:
            raise Refused(f"{joined}: somebody has joined; nothing was changed") from joined
        if refused:
            where, why = next(iter(refused.items()))
            raise BrokerUnreachable(f"{len(refused)} of {len(targets)} offsets were not set, {where}: {why}; run it again")

    def _place(self, where: Partition, committed: int | None) -> Place:
        start, stable, high = self._inspector.ends(where)
        return Place(
            partition=where,
            committed=committed,
            start=start,
            stable=stable,
            high=high,
            begins_at=self._settings.topics.auto_offset_reset,
        )


__all__ = ["OffsetDesk", "occupied", "require_empty"]
