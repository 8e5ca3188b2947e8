"""What asyncio by itself makes of 100 awaits of 5 ms at a time: the ceiling of the `await` job on this machine.

It is below 20,000 a second: the selector rounds each wait up to a whole millisecond.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

TASKS: Final = 100
CALL: Final = 0.005


def awaits_a_second(seconds: float = 1.0) -> float:
    """Return how many awaits 100 tasks get done that do nothing else."""
    return asyncio.run(_count(seconds)) / seconds


async def _count(seconds: float) -> int:
    end = time.monotonic() + seconds

    async def sleeper() -> int:
        done = 0
        while time.monotonic() < end:
            await asyncio.sleep(CALL)
            done += 1
        return done

    return sum(await asyncio.gather(*(sleeper() for _ in range(TASKS))))
