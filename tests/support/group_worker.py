"""A member of a group test as a process of its own: `python -m tests.support.group_worker <json>` (see group_rig.Child)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

from streamapp import faults
from streamapp.faults import FaultPoint
from streamapp.settings import load
from tests.support.group_job import Sums
from tests.support.group_rig import Member


def strike(spec: dict[str, Any]) -> None:
    """Send this process the signal that its spec asks for, at its fault point."""
    number = signal.SIGKILL if spec["kill_at"] else signal.SIGSTOP
    wanted = spec["kill_at"] or spec["stop_at"]
    left = int(spec["nth"])

    def hook(point: FaultPoint) -> None:
        nonlocal left
        if point == wanted:
            left -= 1
            if left == 0:
                print(f"struck at {point}", flush=True)
                os.kill(os.getpid(), number)

    if wanted:
        faults.hook = hook


async def main(spec: dict[str, Any]) -> int:
    """Run until SIGTERM or the engine's failure."""
    given = spec["job"]
    settings = load(spec["settings"], {}, {})
    job = Sums(
        app=settings.identity.app_id,
        sources=tuple(given["sources"]),
        out=given["out"],
        dlq=given["dlq"],
        dedupe=given["dedupe"],
    )
    member = Member(spec["settings"]["worker_id"], settings, Path(spec["data_dir"]), [job])
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    strike(spec)
    await member.start()
    print("started", flush=True)
    ends = asyncio.ensure_future(asked.wait())
    await asyncio.wait([ends, cast("asyncio.Future[Any]", member.engine.failure)], return_when=asyncio.FIRST_COMPLETED)
    failure = member.engine.failure.result() if member.engine.failure.done() else None
    ends.cancel()
    await member.stop()
    print(f"stopped: {failure!r}", flush=True)
    return 0 if failure is None else 1


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(name)s %(message)s", stream=sys.stdout)
    sys.exit(asyncio.run(main(json.loads(sys.argv[1]))))
