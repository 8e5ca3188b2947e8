"""Rule 1: a worker's ids are the same after a restart, so its dead predecessor holds up nobody; two live ones never share them."""

from __future__ import annotations

import asyncio

import pytest

from streamapp.errors import DataDirLocked, RivalWorker
from streamapp.identity import DataDir
from streamapp.kafka import client_config
from streamapp.pipeline.transaction import RIVAL_FENCES
from streamapp.settings import load
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig


async def test_ids_begin_with_app_and_worker_and_are_the_same_after_a_restart(rig: EngineRig) -> None:
    rig.make(partitions=1)
    for first in (0, 10):
        rig.feed(orders(10, first=first))
        worker = await rig.start("w7")
        await rig.caught_up()
        await worker.stop()
    assert rig.wrong() == []
    assert [client.options["transactional.id"] for client in rig.clients.producers] == [f"{rig.app_id}-w7"] * 2
    members = [client.options["group.instance.id"] for client in rig.clients.clients if "group.instance.id" in client.options]
    assert members == [f"{rig.app_id}-w7-{rig.job.source}"] * 2


async def test_a_restart_ends_the_dead_predecessors_transaction_and_readers_go_on(rig: EngineRig) -> None:
    rig.make(partitions=1)
    dead = await asyncio.to_thread(rig.predecessor, "w1")
    dead.begin_transaction()
    for number in (0, 1):
        dead.produce(rig.job.out, b'{"i": -1, "k": "0", "n": 0}', b"0", number)
    dead.flush(20)
    rig.feed(orders(10))
    await rig.start("w1", transaction_timeout=60.0)
    await rig.caught_up()
    # A transaction that is still open would hide these, and be named by `wrong`.
    assert sorted(rig.visible()) == list(range(10))
    assert rig.wrong() == []


def test_the_worker_id_is_kept_in_the_data_directory_and_the_directory_is_one_workers(rig: EngineRig) -> None:
    settings = load({"app_id": rig.app_id, "broker": rig.bootstrap, "data_dir": str(rig.home)}, {}, {})
    with DataDir.open(settings.identity) as held:
        first = client_config.transactional_id(settings, held.worker_id)
        with pytest.raises(DataDirLocked, match="in use by the live worker"):
            DataDir.open(settings.identity)
    with DataDir.open(settings.identity) as again:
        assert client_config.transactional_id(settings, again.worker_id) == first
    assert first.startswith(f"{rig.app_id}-")


async def test_a_worker_that_is_fenced_on_and_on_stops_and_names_its_rival(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start("w1")
    rig.feed(orders(10))
    await rig.caught_up()
    for fence in range(1, RIVAL_FENCES):
        await asyncio.to_thread(rig.predecessor, "w1")
        rig.feed(orders(10, first=10 * fence))
        await rig.caught_up()
        assert rig.rebuilds() == ["fenced"] * fence, "it takes its id back"
    await asyncio.to_thread(rig.predecessor, "w1")
    rig.feed(orders(10, first=10 * RIVAL_FENCES))
    failure = await worker.failed()
    assert isinstance(failure, RivalWorker)
    assert f"{rig.app_id}-w1" in str(failure)
    assert "STREAMAPP_WORKER_ID" in str(failure)
    await worker.stop()
    await rig.start("w1")
    rig.workers.remove(worker)
    await rig.caught_up()
    assert rig.wrong() == []


async def test_a_rival_that_is_met_at_the_commit_is_a_rival_as_well(rig: EngineRig) -> None:
    rig.make(partitions=1)
    worker = await rig.start("w1")
    for fence in range(1, RIVAL_FENCES + 1):
        stop = rig.stop_before("commit_transaction")
        rig.feed(orders(10, first=10 * fence))
        assert await asyncio.to_thread(stop.reached.wait, 30)
        await asyncio.to_thread(rig.predecessor, "w1")
        stop.release()
        if fence < RIVAL_FENCES:
            await rig.caught_up()
    assert isinstance(await worker.failed(), RivalWorker)
    await worker.stop()
    await rig.start("w1")
    rig.workers.remove(worker)
    await rig.caught_up()
    assert rig.wrong() == []
