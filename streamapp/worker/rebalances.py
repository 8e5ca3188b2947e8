"""What Faust's listeners hear of the group: the signals of the app, its sensors, and `app.rebalancing`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from faust.types.tuples import TP

from streamapp.events import Event, log_event
from streamapp.pipeline.dead_letter import named
from streamapp.records import Partition

if TYPE_CHECKING:
    from streamapp.application import StreamApp

log = logging.getLogger(__name__)

LAST_HANDLERS = 3.0
"""Seconds that a stop waits for handlers, of the 10 that it may take in all."""


class Rebalances:
    """The engine's listener. Each source set is a member of its own, so one start of a worker may bring several rebalances.

    `on_partitions_assigned` and `on_partitions_revoked` get the partitions that came or went, not all that are held: rebalances
    are incremental. A revoked partition is gone when its signal is sent. `on_rebalance_complete` follows when every partition that
    came is restored. Handlers and sensors are called one after the other, beside the engine; one that raises is logged.
    """

    def __init__(self, app: StreamApp) -> None:
        self._app = app
        self._coming: asyncio.Queue[Callable[[], Awaitable[None]] | None] = asyncio.Queue()
        self._calling: asyncio.Task[None] | None = None
        self._goes_on = False
        self._restoring: set[Partition] = set()
        self._sensed: Any = None
        """What the sensors returned at the start of the rebalance."""

    async def stop(self) -> None:
        """Let the handlers of what happened end, for a few seconds. The engine is stopped before."""
        calling, self._calling = self._calling, None
        if calling is None:
            return
        self._coming.put_nowait(None)
        await asyncio.wait({calling}, timeout=LAST_HANDLERS)
        calling.cancel()

    # --- EngineListener: on the loop

    def on_assigned(self, partitions: set[Partition]) -> None:
        if not self._goes_on:
            self._goes_on = True
            self._call(self._begun)
        self._restoring |= partitions
        self._app.doctor_notes.comes(len(partitions))
        self._call(self._returned)
        if partitions:
            self._tell(self._app.on_partitions_assigned, _tps(partitions))
        self._end_if_restored()

    def on_revoked(self, partitions: set[Partition]) -> None:
        # No rebalance begins here: at a stop none follows, and otherwise the assignment does, be it empty.
        self._restoring -= partitions
        self._app.doctor_notes.goes(len(partitions))
        self._tell(self._app.on_partitions_revoked, _tps(partitions))
        self._end_if_restored()

    def on_restored(self, partitions: set[Partition]) -> None:
        # Also after an abort, when nothing came and nothing is to be said.
        self._restoring -= partitions
        self._end_if_restored()

    def _end_if_restored(self) -> None:
        if self._goes_on and not self._restoring:
            self._goes_on = False
            self._app.doctor_notes.settled()
            self._call(self._ended)
            self._tell(self._app.on_rebalance_complete)

    # --- what is called

    def _tell(self, signal: Any, *arguments: Any) -> None:
        async def send() -> None:
            await signal.send(*arguments)

        self._call(send)

    def _call(self, what: Callable[[], Awaitable[None]]) -> None:
        if self._calling is None:
            self._calling = asyncio.get_running_loop().create_task(self._call_all(), name="rebalance handlers")
        self._coming.put_nowait(what)

    async def _begun(self) -> None:
        self._app.rebalancing = True
        self._app.rebalancing_count += 1
        self._sensed = self._app.sensors.on_rebalance_start(self._app)

    async def _returned(self) -> None:
        self._app.sensors.on_rebalance_return(self._app, self._sensed)

    async def _ended(self) -> None:
        self._app.rebalancing = False
        self._app.sensors.on_rebalance_end(self._app, self._sensed)

    async def _call_all(self) -> None:
        while (call := await self._coming.get()) is not None:
            try:
                await call()
            except Exception as failure:  # user code: neither the engine nor the next handler has a part in it
                log_event(
                    log, logging.ERROR, Event.TASK_FAILED, f"a handler of a rebalance raised: {named(failure)}", exc_info=failure
                )


def _tps(partitions: set[Partition]) -> set[TP]:
    return {TP(partition.topic, partition.number) for partition in partitions}


__all__ = ["Rebalances"]
