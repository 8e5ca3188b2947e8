"""Timers and crontabs: Faust's schedules, each run a savepoint that joins the worker's transaction."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from faust.utils import cron
from mode import want_seconds
from mode.utils.objects import qualname

from streamapp.events import Event, log_event
from streamapp.pipeline.dead_letter import named

if TYPE_CHECKING:
    from datetime import tzinfo

    from streamapp.application import StreamApp

log = logging.getLogger(__name__)

Function = Callable[..., Awaitable[Any]]


def every(
    app: StreamApp, interval: Any, function: Function, *, on_leader: bool, name: str | None, max_drift_correction: float
) -> Function:
    """Return the task that runs `function` every `interval` seconds."""
    seconds = want_seconds(interval)
    called = name or qualname(function)

    @functools.wraps(function)
    async def around_timer() -> None:
        async for _ in app.itertimer(seconds, name=called, max_drift_correction=max_drift_correction):
            await run_once(app, function, name=called, on_leader=on_leader)

    del around_timer.__wrapped__  # Faust would take the parameters of `function` for the task's own
    return around_timer


def at_times(app: StreamApp, cron_format: str, function: Function, *, timezone: tzinfo | None, on_leader: bool) -> Function:
    """Return the task that runs `function` at the times that `cron_format` names."""

    @functools.wraps(function)
    async def cron_starter() -> None:
        zone = app.conf.timezone if timezone is None else timezone
        while not app.should_stop:
            await app.sleep(cron.secs_for_next(cron_format, zone))
            if not app.should_stop:
                await run_once(app, function, name=qualname(function), on_leader=on_leader)

    del cron_starter.__wrapped__
    return cron_starter


async def run_once(app: StreamApp, function: Function, *, name: str, on_leader: bool) -> None:
    """Run a timer's function as one savepoint. What it raises drops that savepoint and is logged; the next tick comes as planned."""
    engine = app.running_engine
    if engine is None or (on_leader and not engine.is_leader()):
        return
    takes_app = bool(inspect.signature(function).parameters)

    async def tick() -> None:
        await (function(app) if takes_app else function())

    try:
        await engine.tick(tick, name=name, on_leader=on_leader)
    except Exception as failure:  # user code
        log_event(
            log,
            logging.ERROR,
            Event.TASK_FAILED,
            f"timer {name} failed: {named(failure)}; nothing of this run is kept",
            exc_info=failure,
        )


__all__ = ["at_times", "every", "run_once"]
