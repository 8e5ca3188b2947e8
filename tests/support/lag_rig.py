"""A rig's worker with a sampler beside it, in stretched time: what takes half an hour in production passes in seconds, on a real broker."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from confluent_kafka import Producer

from streamapp.kafka import client_config
from streamapp.kafka.client_config import Isolation
from streamapp.kafka.surroundings import Question, Surroundings
from streamapp.kafka.watermarks import KafkaWatermarks
from streamapp.monitor.enquiry import Enquiry
from streamapp.monitor.lag.verdict import Status, Verdict
from streamapp.monitor.sampler import Parts, Sampler
from streamapp.monitor.watch import LagWatch, Past
from streamapp.pipeline.cursor import Cursor
from streamapp.records import Partition
from streamapp.worker.reporting import lag_config
from tests.support.engine_rig import EngineRig, Worker
from tests.support.lag_world import Stretched
from tests.support.topics import PATIENCE

QUICK: Final[dict[str, object]] = {"commit_interval": 0.05}
"""Settings of a worker whose blocks of stretched time hold commits enough."""
EVERY: Final = 0.09
"""Seconds between two samples: nine, where a second is a hundred."""


class NobodyAsks:
    """In place of an enquiry."""

    def answer(self) -> Surroundings | None:
        return None

    def soon(self) -> None:
        """There is nobody to ask."""

    def stop(self) -> None:
        """Nothing runs."""


class _StretchedClock:
    def __init__(self, watched: Stretched) -> None:
        self._watched = watched

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return self._watched.at(time.time())


class Look:
    """What the sampler of one worker sees. Stop it before the worker."""

    def __init__(
        self,
        rig: EngineRig,
        worker: Worker,
        factor: float,
        *,
        since: float,
        past: Past | None = None,
        asks_every: float | None = None,
    ) -> None:
        """`asks_every`: seconds between enquiries of a real child; None: none is made."""
        settings = worker.settings
        watched = Stretched(worker.engine, factor, since=since)
        config = replace(lag_config(settings), commit_interval=settings.transaction.commit_interval * factor)

        def question() -> Question:
            topics = tuple(sorted({lane.partition.topic for lane in worker.engine.facts().lanes}))
            return Question(client=client_config.admin(settings, "looking"), topics=topics, group=rig.app_id)

        (rig.home / worker.id).mkdir(parents=True, exist_ok=True)
        asks = NobodyAsks() if asks_every is None else Enquiry(question, every=asks_every, first=0.0)
        been = past or Past(version="1.4", worker=worker.id)
        parts = Parts(
            watermarks=lambda: KafkaWatermarks(
                client_config.watermark_consumer(settings, worker.id, isolation=Isolation.READ_COMMITTED),
                client_config.watermark_consumer(settings, worker.id),
            ),
            asks=asks,
            workers_of=lambda found: None,
            past=lambda: been,
            directory=rig.home / worker.id,
            starts_every=0.3,
            clock=_StretchedClock(watched),
        )
        counts = {rig.job.source: 8}
        self.watch = LagWatch(config, been, counts, tables={})
        self.sampler = Sampler(watched, self.watch, parts, interval=EVERY, loop=asyncio.get_running_loop())
        self.sampler.on_assigned(worker.engine.assignment())
        self.sampler.start()
        self.told: dict[Partition, list[Verdict]] = {}
        """Every verdict that `until` met, in order."""

    def verdict(self, partition: Partition) -> Verdict | None:
        view = self.sampler.view
        return None if view is None else view.verdicts.get(partition)

    async def until(self, what: Callable[[], object], why: str, *, deadline: float = PATIENCE) -> None:
        """Wait until `what` holds, and keep each verdict on the way."""
        end, met = time.monotonic() + deadline, 0.0
        while True:
            view = self.sampler.view
            if view is not None and view.at != met:
                met = view.at
                for partition, verdict in view.verdicts.items():
                    self.told.setdefault(partition, []).append(verdict)
            if what():
                return
            assert time.monotonic() < end, f"not within {deadline:g} s: {why}; {None if view is None else dict(view.verdicts)}"
            await asyncio.sleep(0.01)

    async def until_status(self, partition: Partition, status: Status, *, deadline: float = PATIENCE) -> Verdict:
        """Wait until a partition has that status; return its verdict."""

        def has() -> bool:
            verdict = self.verdict(partition)
            return verdict is not None and verdict.status is status

        await self.until(has, f"{partition} {status}", deadline=deadline)
        verdict = self.verdict(partition)
        assert verdict is not None
        return verdict

    async def stop(self) -> None:
        await asyncio.to_thread(self.sampler.stop)


class Pace:
    """Lets records through at a rate, however busy the machine is."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._next = 0.0

    async def wait(self) -> None:
        now = time.monotonic()
        self._next = max(self._next, now - 0.1) + 1 / self.rate
        if self._next > now:
            await asyncio.sleep(self._next - now)

    def before(self, value: dict[str, Any], cursor: Cursor) -> Any:
        return self.wait()


class Feed:
    """A producer of its own thread: so many records a second to each partition of a topic, until `stop`."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, rate: float) -> None:
        """`rate`: of one partition."""
        self.rate = rate
        self._client = Producer({"bootstrap.servers": bootstrap, "linger.ms": 2, "log_level": 0})
        self._topic = topic
        self._partitions = partitions
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        began, sent = time.monotonic(), 0
        while not self._over.wait(0.01):
            due = int((time.monotonic() - began) * self.rate)
            for number in range(sent, due):
                for partition in range(self._partitions):
                    self._client.produce(self._topic, json.dumps({"i": number, "k": str(partition)}).encode(), b"k", partition)
            sent = due
            self._client.poll(0)

    def stop(self) -> None:
        """End it. May be called twice."""
        self._over.set()
        self._thread.join(PATIENCE)
        assert self._client.flush(PATIENCE) == 0


__all__ = ["EVERY", "QUICK", "Feed", "Look", "NobodyAsks", "Pace"]
