"""Short waits take as long as they were asked to, where asyncio's own are rounded up to a millisecond.

What is asserted is the shortest of many: a busy machine makes a wait longer, never shorter.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from streamapp import StreamApp
from streamapp.worker import lifecycle
from streamapp.worker.waits import wait_finely

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there asyncio rounds waits up")

WAIT = 0.0021
ROUNDED = 0.003
PENDING = 0.019
TRIES = 100


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.SelectorEventLoop(selectors.EpollSelector())
    wait_finely(made)
    yield made
    made.close()


def shortest(loop: asyncio.AbstractEventLoop, wait: Callable[[], Awaitable[object]]) -> float:
    async def once() -> float:
        began = time.monotonic()
        await wait()
        return time.monotonic() - began

    return min(loop.run_until_complete(once()) for _ in range(TRIES))


def test_a_wait_is_not_rounded_up_to_a_millisecond(loop: asyncio.AbstractEventLoop) -> None:
    assert WAIT - 0.0001 <= shortest(loop, lambda: asyncio.sleep(WAIT)) < ROUNDED


def test_asyncios_own_is() -> None:
    """Its selector, directly: in a loop that is late, what is left may round up to less."""

    def once(selector: selectors.BaseSelector) -> float:
        began = time.monotonic()
        selector.select(WAIT)
        return time.monotonic() - began

    with selectors.EpollSelector() as stock:
        assert min(once(stock) for _ in range(TRIES)) >= ROUNDED - 0.0001  # else the test above shows nothing


def test_what_happens_meanwhile_ends_the_wait(loop: asyncio.AbstractEventLoop) -> None:
    async def told() -> None:
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(PENDING, lambda: None)  # what the loop waits for
        await asyncio.sleep(0)
        loop.run_in_executor(None, loop.call_soon_threadsafe, future.set_result, None)
        await future
        timer.cancel()

    assert shortest(loop, told) < PENDING / 2


def test_a_loop_that_somebody_chose_stays_as_it_is() -> None:
    for selector in (selectors.PollSelector(), type("Own", (selectors.EpollSelector,), {})()):
        chosen, before = asyncio.SelectorEventLoop(selector), type(selector)
        wait_finely(chosen)
        chosen.close()
        assert type(selector) is before
    wait_finely(object())  # type: ignore[arg-type]  # what has no selector at all


def test_what_the_loop_watches_already_stays_watched() -> None:
    ours, theirs = socket.socketpair()
    early = asyncio.SelectorEventLoop(selectors.EpollSelector())
    heard: asyncio.Future[bytes] = early.create_future()
    with ours, theirs:
        early.add_reader(ours, lambda: heard.set_result(ours.recv(10)))
        wait_finely(early)
        early.call_soon(theirs.send, b"here")
        assert early.run_until_complete(asyncio.wait_for(heard, 10)) == b"here"
        early.remove_reader(ours)
    early.close()


def test_a_worker_waits_so(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = asyncio.SelectorEventLoop(selectors.EpollSelector())
    monkeypatch.setattr(lifecycle._EndsByExitCode, "execute_from_commandline", lambda worker: sys.exit(0))
    worker = lifecycle.Worker(StreamApp("waits"), loop=stock)
    with pytest.raises(SystemExit):
        worker.execute_from_commandline()
    assert vars(stock)["_selector"].__class__ is vars(loop)["_selector"].__class__ is not selectors.EpollSelector
    stock.close()
