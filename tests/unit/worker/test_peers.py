"""One worker's page shows the partitions of all: the others are asked in the background, whoever does not answer is named, and what nobody owns is
marked once all have answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from streamapp.monitor.documents import Known, document, unowned
from streamapp.monitor.status import STATUS_PATH, PartitionStatus, StatusDocument, WorkerStatus
from streamapp.worker import peers as module
from streamapp.worker.peers import Peers, with_peers
from tests.support.lag_world import CONFIG
from tests.support.topics import Countdown


def worker(worker_id: str) -> WorkerStatus:
    return WorkerStatus(
        worker=worker_id,
        version="1",
        streamapp="0",
        librdkafka="2",
        guarantee="exactly_once",
        pid=1,
        started=0.0,
        url=None,
        ready=True,
        draining=False,
        failing=None,
        loop_lag=None,
    )


def owned(worker_id: str, number: int, **what: Any) -> PartitionStatus:
    return msgspec.structs.replace(unowned("orders", number), owner=worker_id, cause=None, status="OK", lag=0, **what)


def of(worker_id: str, *partitions: PartitionStatus, app_id: str = "shop") -> StatusDocument:
    made = document(Known(now=100.0, app_id=app_id, worker=worker(worker_id), facts=None, view=None, config=CONFIG))
    return msgspec.structs.replace(made, partitions=partitions)


Answer = Callable[[web.Request], Any]


@asynccontextmanager
async def served(*answers: StatusDocument | bytes | int) -> AsyncIterator[tuple[list[str], list[web.Request]]]:
    """Serve each answer (a document, a body, a status) on a port of its own; yield the URLs and what was asked."""
    asked: list[web.Request] = []
    runners, urls = [], []
    for answer in answers:

        async def tell(request: web.Request, answer: StatusDocument | bytes | int = answer) -> web.Response:
            asked.append(request)
            if isinstance(answer, int):
                return web.Response(status=answer)
            return web.Response(body=answer if isinstance(answer, bytes) else msgspec.json.encode(answer))

        app = web.Application()
        app.router.add_get(STATUS_PATH, tell)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        urls.append(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}")  # type: ignore[union-attr]  # it listens
    try:
        yield urls, asked
    finally:
        for runner in runners:
            await runner.cleanup()


async def ask(*urls: str, token: str | None = None) -> Peers:
    peers = Peers(urls, "shop", lambda: "w-1", token=token)
    async with aiohttp.ClientSession(headers=peers._headers) as session:
        await peers.ask(session)
    return peers


def merged(mine: StatusDocument, peers: Peers, partitions: int = 3) -> StatusDocument:
    return with_peers(mine, peers, {"orders": partitions}, CONFIG, None)


async def test_the_partitions_of_those_that_answer_are_in_it_and_those_that_nobody_owns_are_marked() -> None:
    async with served(of("w-2", owned("w-2", 1))) as (urls, asked):
        whole = merged(of("w-1", owned("w-1", 0)), await ask(*urls))
    assert {each.partition: each.owner for each in whole.partitions} == {0: "w-1", 1: "w-2", 2: None}
    assert (whole.peers, whole.unreachable, whole.only_this_worker) == (tuple(urls), (), False)
    assert (whole.group.partitions, whole.group.workers) == (3, 2)
    assert asked[0].query_string == "own=1", "else each would fetch what every other fetched"


async def test_a_peer_that_does_not_answer_is_named_and_its_partitions_are_nobody_s_yet() -> None:
    async with served(of("w-2", owned("w-2", 1)), 500, b"{}", of("w-9", app_id="other")) as (urls, _):
        gone = "http://127.0.0.1:1"
        whole = merged(of("w-1", owned("w-1", 0)), await ask(*urls, gone))
    assert sorted(each.partition for each in whole.partitions) == [0, 1]
    assert whole.unreachable == (*urls[1:], gone)
    assert whole.group.workers is None


async def test_this_worker_may_be_among_its_peers() -> None:
    async with served(of("w-1", owned("w-1", 0))) as (urls, _):
        whole = merged(of("w-1", owned("w-1", 0)), await ask(*urls), partitions=1)
    assert (whole.peers, whole.unreachable, whole.only_this_worker) == ((), (), True)
    assert len(whole.partitions) == 1


async def test_what_moved_is_the_owner_s_that_tells_of_itself_and_hearsay_counts_for_nothing() -> None:
    async with served(of("w-2", owned("w-2", 0), owned("w-3", 1))) as (urls, _):
        whole = merged(of("w-1", owned("w-1", 0)), await ask(*urls), partitions=2)
    assert {each.partition: each.owner for each in whole.partitions} == {0: "w-1", 1: None}


async def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 1000)
    async with served(b" " * 5000) as (urls, _):
        assert (await ask(*urls)).unreachable == tuple(urls)


async def test_the_token_that_they_ask_us_for_is_the_one_that_we_give_them() -> None:
    async with served(of("w-2")) as (urls, asked):
        await ask(*urls, token="hush")
    assert asked[0].headers["Authorization"] == "Bearer hush"


async def test_they_are_asked_again_and_again_until_the_stop() -> None:
    async with served(of("w-2", owned("w-2", 1))) as (urls, asked):
        peers = Peers(urls, "shop", lambda: "w-1", every=0.01)
        peers.start()
        soon = Countdown(10)
        while len(asked) < 3:
            assert not soon.over
            await asyncio.sleep(0.01)
        await peers.stop()
        await peers.stop()
        assert set(peers.documents) == set(urls)


async def test_without_peers_nobody_is_asked() -> None:
    peers = Peers([], "shop", lambda: "w-1")
    peers.start()
    assert not peers.any
    await peers.stop()
