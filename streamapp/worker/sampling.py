"""The sampler of an app's worker, with the real clients; and what a spare says of itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from streamapp.events import Event, log_event
from streamapp.identity import version_of
from streamapp.kafka import client_config
from streamapp.kafka.client_config import Isolation
from streamapp.kafka.surroundings import Member, Question, Surroundings
from streamapp.kafka.watermarks import KafkaWatermarks
from streamapp.monitor.enquiry import Enquiry
from streamapp.monitor.sampler import Parts, Sampler, Watched
from streamapp.monitor.watch import LagWatch, Past
from streamapp.settings import Settings
from streamapp.worker.cluster import Topology
from streamapp.worker.reporting import lag_config
from streamapp.worker.starts import Starts

if TYPE_CHECKING:
    from streamapp.identity import DataDir
    from streamapp.pipeline.engine import EngineListener
    from streamapp.records import Partition

log = logging.getLogger(__name__)

SURROUNDINGS_EVERY: Final = 300.0
"""Seconds between two looks at settings of topics and broker: somebody changes those by hand."""


class Listeners:
    """Tells several EngineListeners, one after the other. On the loop."""

    def __init__(self, *listeners: EngineListener) -> None:
        self._listeners = list(listeners)

    def also(self, listener: EngineListener) -> None:
        self._listeners.append(listener)

    def on_assigned(self, partitions: set[Partition]) -> None:
        for listener in self._listeners:
            listener.on_assigned(partitions)

    def on_revoked(self, partitions: set[Partition]) -> None:
        for listener in self._listeners:
            listener.on_revoked(partitions)

    def on_restored(self, partitions: set[Partition]) -> None:
        for listener in self._listeners:
            listener.on_restored(partitions)


def lag_sampler(
    settings: Settings, directory: DataDir, topology: Topology, watched: Watched, *, tables: Mapping[str, Collection[str]]
) -> Sampler:
    """Return the worker's sampler, not started. On the loop."""
    worker, version = directory.worker_id, version_of(settings.identity)
    app_id, interval = settings.identity.app_id, settings.observe.lag_sample_interval
    spare = Spare(watched, topology)

    def question() -> Question:
        return Question(
            client=client_config.admin(settings, f"{worker}-surroundings"),
            topics=tuple(sorted({*topology.partitions, *topology.dlq_partitions})),
            group=app_id,
        )

    def workers_of(found: Surroundings) -> int | None:
        sets = [source_set.name for source_set in topology.ready]
        ids = None if found.members is None else worker_ids(found.members, app_id, sets)
        return None if ids is None else len(ids)

    parts = Parts(
        watermarks=lambda: KafkaWatermarks(
            client_config.watermark_consumer(settings, worker, isolation=Isolation.READ_COMMITTED),
            client_config.watermark_consumer(settings, worker),
        ),
        asks=Enquiry(question, every=SURROUNDINGS_EVERY, first=interval),
        workers_of=workers_of,
        past=Starts(settings, worker, version).look_up,
        directory=directory.path,
        told_surroundings=lambda found: spare.told(workers_of(found)),
    )
    watch = LagWatch(lag_config(settings), Past(version=version, worker=worker), topology.partitions, tables=tables)
    return Sampler(watched, watch, parts, interval=interval, loop=asyncio.get_running_loop())


def worker_ids(members: Iterable[Member], app_id: str, sets: Collection[str]) -> set[str] | None:
    """Return the distinct worker ids of a group's members, one member per source set; None where one cannot be told.

    From the client ids, `<app id>-<worker id>-<source set>`: dynamic members have no other name that we give.
    """
    found = set()
    for member in members:
        ends = [f"-{name}" for name in sets if member.client_id.endswith(f"-{name}")]
        if not ends or not member.client_id.startswith(f"{app_id}-"):
            return None
        found.add(member.client_id.removeprefix(f"{app_id}-").removesuffix(max(ends, key=len)))
    return found


class Spare:
    """Says once, with the numbers, that there are more workers than partitions; again when the numbers change."""

    def __init__(self, watched: Watched, topology: Topology) -> None:
        self._watched = watched
        self._topology = topology
        self._said: tuple[int, int] | None = None

    def told(self, workers: int | None) -> None:
        """The group has that many workers."""
        partitions = max(self._topology.partitions.values(), default=0)
        if workers is None or self._said == (workers, partitions):
            return
        if workers <= partitions or self._watched.assignment():
            self._said = None
            return
        self._said = workers, partitions
        log_event(
            log,
            logging.WARNING,
            Event.IDLE_MEMBER,
            f"{idle_line(workers, partitions)}. This one stays as a spare. Run {partitions}, or create a wider topic "
            "(changes key placement)",
            workers=workers,
            partitions=partitions,
        )


def idle_line(workers: int, partitions: int) -> str:
    """Return what G01 says: `9 workers, 8 partitions: 1 idle`."""
    return f"{workers} workers, {partitions} partition{'' if partitions == 1 else 's'}: {workers - partitions} idle"


__all__ = ["Listeners", "Spare", "idle_line", "lag_sampler", "worker_ids"]
