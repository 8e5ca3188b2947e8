"""Rule 19: no AdminClient lives in a worker: those of the start are gone when it runs, and a later look makes a fresh one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from streamapp import assembly as assembly_module
from streamapp.kafka import admin as admin_module
from streamapp.kafka import versions as versions_module
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.tampering import error, on, raising
from tests.support.topics import create_topic


class Watched:
    """An AdminClient of which the test knows when it was made and used, and whether it still is there."""

    def __init__(self, admins: Admins, *args: Any, **kwargs: Any) -> None:
        self._real = AdminClient(*args, **kwargs)
        self._admins = admins
        admins.made += 1
        admins.alive.add(self)

    def __getattr__(self, name: str) -> Any:
        self._admins.calls.append(name)
        return getattr(self._real, name)


class Admins:
    def __init__(self) -> None:
        self.made = 0
        self.calls: list[str] = []
        self.alive: weakref.WeakSet[Watched] = weakref.WeakSet()

    def make(self, *args: Any, **kwargs: Any) -> Watched:
        return Watched(self, *args, **kwargs)

    def left(self) -> int:
        gc.collect()
        return len(self.alive)


@pytest.fixture
def admins() -> Iterator[Admins]:
    made = Admins()
    with patch.object(admin_module, "AdminClient", made.make), patch.object(versions_module, "AdminClient", made.make):
        yield made


async def test_none_is_made_or_used_while_a_worker_runs(rig: EngineRig, admins: Admins) -> None:
    rig.make(partitions=2)
    rig.feed(orders(20))
    first = await rig.start()
    second = await rig.start("w2")
    made, calls = admins.made, len(admins.calls)
    assert made > 0
    assert admins.left() == 0, "those of the start are gone"
    await first.until(lambda: len(first.lanes) == len(second.lanes) == 1, "a rebalance")
    await rig.caught_up()
    rig.clients.tamper_producer = on("commit_transaction", raising(error(KafkaError._TRANSPORT), after=True))
    rig.feed(orders(20, first=20))
    await first.until(lambda: bool(rig.events("commit_unknown")), "a restore")
    await rig.caught_up()
    await second.stop()
    assert (admins.made, len(admins.calls)) == (made, calls)
    assert rig.wrong() == []


async def test_each_look_for_a_missing_topic_makes_a_fresh_one(
    rig: EngineRig, admins: Admins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly_module, "MISSING_TOPIC_EVERY", 0.1)
    create_topic(rig.bootstrap, rig.job.out, 2)
    worker = await rig.start()
    made = admins.made
    await worker.until(lambda: admins.made >= made + 3, "looked three times")
    named = len(rig.events("missing_topic"))
    assert named >= 3
    create_topic(rig.bootstrap, rig.job.source, 2)
    await worker.ready(2)
    made = admins.made
    assert admins.left() == 0
    rig.feed(orders(10))
    await rig.caught_up()
    assert admins.made == made, "nothing is looked for any more"
    assert rig.wrong() == []
