"""What the worker tells of itself, put together when it is asked: from memory, on the loop, without a broker call."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from streamapp.identity import version_of
from streamapp.kafka.versions import library_version
from streamapp.monitor.config_rows import config_rows
from streamapp.monitor.documents import Known, document, with_history
from streamapp.monitor.lag.inputs import Config
from streamapp.monitor.status import DlqPartition, StatusDocument, WorkerStatus
from streamapp.monitor.watch import Around
from streamapp.settings import Settings
from streamapp.worker.peers import Peers, with_peers

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.monitor.sampler import Sampler
    from streamapp.pipeline.dead_letter_counts import Unresolved

DISTRIBUTION: Final = "streamapp-kafka"


def lag_config(settings: Settings) -> Config:
    """Return what of the settings lag depends on."""
    return Config(
        group=settings.identity.app_id,
        commit_interval=settings.transaction.commit_interval,
        earliest=settings.topics.auto_offset_reset == "earliest",
        reset_policy=settings.topics.auto_offset_reset,
        drain_target=settings.observe.lag_drain_target,
        sample_interval=settings.observe.lag_sample_interval,
        broker=settings.broker.broker,
    )


class Reporter:
    """Makes the status document of an app's worker. On the loop."""

    def __init__(self, app: StreamApp) -> None:
        self.peers: Peers | None = None
        """The other workers, once somebody asks them."""
        self._app = app
        self._started = time.time()

    def start(self) -> None:
        """Begin to ask the other workers."""
        settings = self._app.settings
        if self.peers is None and settings.web.web_port != 0:
            token = settings.web.web_token
            self.peers = Peers(
                settings.web.web_peers,
                settings.identity.app_id,
                lambda: self._app.worker_id,
                token=None if token is None else token.reveal(),
            )
            self.peers.start()

    async def stop(self) -> None:
        if self.peers is not None:
            await self.peers.stop()

    async def json(self, *, history: str | None = None, own_only: bool = False) -> bytes:
        """Return the document as JSON. What grows with partitions and history is done beside the loop: for 64 it takes 30 ms."""
        document, sampler = self.document(own_only=own_only), self._app.sampler
        if history is None or sampler is None:
            return msgspec.json.encode(document)
        config, of_a_day = lag_config(self._app.settings), history == "24h"

        def encode() -> bytes:
            whole = with_history(document, config, lambda where: sampler.history(where, of_a_day=of_a_day))
            return msgspec.json.encode(whole)

        return await asyncio.get_running_loop().run_in_executor(None, encode)

    def document(self, *, history: str | None = None, own_only: bool = False) -> StatusDocument:
        """Return the document. `history`: `30m` or `24h`. `own_only`: without the other workers' partitions."""
        app = self._app
        settings = app.settings
        engine, sampler = app.engine, app.sampler
        facts = None if engine is None else engine.facts()
        around = Around() if sampler is None else sampler.around
        now = time.time() if facts is None else facts.now
        mine = document(
            Known(
                now=now,
                app_id=settings.identity.app_id,
                worker=self._worker(sampler),
                facts=facts,
                view=None if sampler is None else sampler.view,
                config=lag_config(settings),
                restoring=() if engine is None else engine.restoring(),
                dead_letters=[_dead_letters(each, around, now) for each in app.unresolved()],
                findings=app.findings,
                settings=config_rows(settings),
                history=None
                if history is None or sampler is None
                else lambda where: sampler.history(where, of_a_day=history == "24h"),
            )
        )
        batch_size = settings.producer.producer_batch_size
        mine = msgspec.structs.replace(mine, doctor=app.doctor_notes.facts(facts, batch_size=batch_size))
        if own_only or self.peers is None or not self.peers.any:
            return mine
        return with_peers(mine, self.peers, self._counts(), lag_config(settings), around.workers)

    def _worker(self, sampler: Sampler | None) -> WorkerStatus:
        app = self._app
        settings, readiness = app.settings, app.readiness()
        return WorkerStatus(
            worker=app.worker_id,
            version=version_of(settings.identity),
            streamapp=importlib.metadata.version(DISTRIBUTION),
            librdkafka=library_version(),
            guarantee=settings.transaction.processing_guarantee,
            pid=os.getpid(),
            started=self._started,
            url=settings.web.web_url or app.web_address or None,
            ready=readiness["ready"],
            draining=app.draining,
            failing=readiness.get("failing"),
            loop_lag=None if sampler is None else sampler.loop_lag,
        )

    def _counts(self) -> Mapping[str, int]:
        engine = self._app.engine
        return {} if engine is None else engine.source_partitions()


def _dead_letters(each: Unresolved, around: Around, now: float) -> DlqPartition:
    limits = around.topics.get(each.partition.topic)
    retention = None if limits is None else limits.retention
    return DlqPartition(
        topic=each.partition.topic,
        partition=each.partition.number,
        unresolved=each.count,
        lower_bound=each.is_lower_bound,
        oldest=each.oldest,
        is_read=each.is_read,
        retention=retention,
        loss=None if retention is None or each.oldest is None else max(0.0, each.oldest + retention - now),
    )


__all__ = ["Reporter", "lag_config"]
