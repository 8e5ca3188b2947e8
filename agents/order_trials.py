"""For trying things out: articles whose orders fail, kill the worker or are slow. Unset by default.

ORDER_PROCESSOR_FAIL_SKU=sku            an order of it raises RuntimeError
ORDER_PROCESSOR_KILL_SKU=sku            an order of it kills the worker, as the kernel does when memory runs out
ORDER_PROCESSOR_SLOW_SKU=sku:seconds    an order of it takes that long
"""

from __future__ import annotations

import asyncio
import os
import signal

FAIL_SKU = os.environ.get("ORDER_PROCESSOR_FAIL_SKU")
KILL_SKU = os.environ.get("ORDER_PROCESSOR_KILL_SKU")
SLOW_SKU, _, _seconds = os.environ.get("ORDER_PROCESSOR_SLOW_SKU", "").rpartition(":")
SLOW_SECONDS = float(_seconds or 0)

SKUS = {sku for sku in (FAIL_SKU, KILL_SKU, SLOW_SKU) if sku}
"""The articles that `run` treats in a special way."""


async def run(sku: str) -> None:
    """Do to an order of this article what the environment asks for."""
    if sku == SLOW_SKU:
        await asyncio.sleep(SLOW_SECONDS)
    if sku == KILL_SKU:
        os.kill(os.getpid(), signal.SIGKILL)
    if sku == FAIL_SKU:
        raise RuntimeError("ORDER_PROCESSOR_FAIL_SKU names this order's sku")
