"""Facts as an engine would tell them, built by hand; and an engine's own facts in stretched time, so that half an hour passes in seconds."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Protocol

from streamapp.monitor.documents import NO_TRANSACTIONS, NOTHING_SEEN
from streamapp.monitor.lag.inputs import Config
from streamapp.pipeline.facts import AgentFacts, EngineFacts, LaneFacts
from streamapp.ports import LogEnds
from streamapp.records import Partition

ORDERS = Partition("orders", 3)
CONFIG = Config(group="shop", commit_interval=0.2, earliest=True, reset_policy="earliest", broker="broker:9092")


def lane(partition: Partition = ORDERS, **what: Any) -> LaneFacts:
    """Return a lane that runs and has nothing to do."""
    whole: dict[str, Any] = {
        "state": "running",
        "committed": 100,
        "committed_at": None,
        "position": 100,
        "merged": 0,
        "unmerged": 0,
        "oldest_unmerged": None,
        "in_hand": None,
        "standstills": (),
        "stopped_at": None,
        "blocked_keys": 0,
        "held_records": 0,
        "suspect": False,
        **what,
    }
    return LaneFacts(partition=partition, **whole)


def agent(name: str = "pricing", *topics: str, **what: Any) -> AgentFacts:
    whole: dict[str, Any] = {
        "dlq": "orders-dlq",
        "on_error": "skip",
        "concurrency": 1,
        "in_hand": 0,
        "processed": 0,
        "busy_seconds": 0.0,
        "duration": NOTHING_SEEN,
        "batch_max": None,
        "retries": {},
        "dedupe_hits": None,
        "dead_letters": {},
        "fingerprints": 0,
        "letter_write_failures": 0,
        "replayed": {},
        "breakers": {},
        **what,
    }
    return AgentFacts(name=name, topics=topics or ("orders",), **whole)


def facts(now: float, lanes: Sequence[LaneFacts], agents: Sequence[AgentFacts] = ()) -> EngineFacts:
    return EngineFacts(now=now, lanes=tuple(lanes), agents=tuple(agents), transactions=NO_TRANSACTIONS, tables=())


def ends(end: int, partition: Partition = ORDERS, *, high: int | None = None) -> dict[Partition, LogEnds]:
    return {partition: LogEnds(end, end if high is None else high)}


class Telling(Protocol):
    """An engine."""

    def facts(self) -> EngineFacts: ...
    def assignment(self) -> Collection[Partition]: ...


class Stretched:
    """A Watched whose seconds are `factor` seconds long: rates shrink, ages and intervals grow, and offsets are what they are."""

    def __init__(self, engine: Telling, factor: float, *, since: float | None = None) -> None:
        self._engine = engine
        self._factor = factor
        self.since = time.time() if since is None else since
        """When the time of both was the same."""

    def at(self, real: float) -> float:
        return self.since + (real - self.since) * self._factor

    def facts(self) -> EngineFacts:
        told = self._engine.facts()
        return replace(
            told,
            now=self.at(told.now),
            lanes=tuple(self._lane(each) for each in told.lanes),
            agents=tuple(replace(each, busy_seconds=each.busy_seconds * self._factor) for each in told.agents),
        )

    def assignment(self) -> Collection[Partition]:
        return self._engine.assignment()

    def restoring(self) -> list[dict[str, Any]]:
        return []

    def _lane(self, lane: LaneFacts) -> LaneFacts:
        return replace(
            lane,
            committed_at=None if lane.committed_at is None else self.at(lane.committed_at),
            oldest_unmerged=None if lane.oldest_unmerged is None else self.at(lane.oldest_unmerged),
            standstills=tuple(replace(each, since=self.at(each.since)) for each in lane.standstills),
            in_hand=None if lane.in_hand is None else replace(lane.in_hand, seconds=lane.in_hand.seconds * self._factor),
        )
