"""What the worker's event loop by itself makes of 100 awaits of 5 ms at a time: the ceiling of the `await` job on this machine.

It is below 20,000 a second: a wait ends some time after it might, and the other 99 have their turns, too.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from streamapp.worker.waits import wait_finely

TASKS: Final = 100
CALL: Final = 0.005


def awaits_a_second(seconds: float = 1.0) -> float:
    """Return how many awaits 100 tasks get done that do nothing else."""
    with asyncio.Runner() as runner:
        wait_finely(runner.get_loop())
        return runner.run(_count(seconds)) / seconds


async def _count(seconds: float) -> int:
    end = time.monotonic() + seconds

    async def sleeper() -> int:
        done = 0
        while time.monotonic() < end:
            await asyncio.sleep(CALL)
            done += 1
        return done

    return sum(await asyncio.gather(*(sleeper() for _ in range(TASKS))))
