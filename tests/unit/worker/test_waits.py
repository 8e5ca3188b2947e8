"""Short waits take as long as they were asked to, where asyncio's own are rounded up to a millisecond.

What is asserted is the shortest of many: a busy machine makes a wait longer, never shorter.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from streamapp.worker.waits import new_event_loop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there asyncio rounds waits up")

WAIT = 0.0021
ROUNDED = 0.003
PENDING = 0.019
TRIES = 100


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = new_event_loop()
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
    stock = asyncio.SelectorEventLoop(selectors.EpollSelector())
    try:
        assert shortest(stock, lambda: asyncio.sleep(WAIT)) >= ROUNDED - 0.0001  # else the test above shows nothing
    finally:
        stock.close()


def test_what_happens_meanwhile_ends_the_wait(loop: asyncio.AbstractEventLoop) -> None:
    async def told() -> None:
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(PENDING, lambda: None)  # what the loop waits for
        await asyncio.sleep(0)
        loop.run_in_executor(None, loop.call_soon_threadsafe, future.set_result, None)
        await future
        timer.cancel()

    assert shortest(loop, told) < PENDING / 2


@pytest.mark.filterwarnings("ignore:.*policy:DeprecationWarning")  # the way that `faust -L uvloop` goes
def test_a_loop_that_somebody_chose_stays() -> None:
    class Chosen(asyncio.SelectorEventLoop):
        pass

    class Policy(asyncio.DefaultEventLoopPolicy):
        _loop_factory = Chosen

    asyncio.set_event_loop_policy(Policy())
    try:
        made = new_event_loop()
    finally:
        asyncio.set_event_loop_policy(None)
    made.close()
    assert type(made) is Chosen
