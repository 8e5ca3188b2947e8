"""A worker's life: what starts in which order, how it ends, and with which exit code."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import click
import faust.app.base
import faust.worker
import mode
from mode import Service, ServiceT
from mode.utils.futures import maybe_cancel

from streamapp.errors import BrokerUnreachable, ConfigurationError, Fatal, RivalWorker, SettingInvalid, StreamAppError
from streamapp.events import Event, log_event
from streamapp.identity import version_of
from streamapp.monitor.logs import JsonLines, arrange
from streamapp.monitor.traces import current
from streamapp.records import Outgoing, Partition
from streamapp.worker.digests import HeldTable
from streamapp.worker.rebalances import Rebalances
from streamapp.worker.tables import Handle
from streamapp.worker.waits import wait_finely

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streamapp.application import StreamApp
    from streamapp.monitor.sampler import Sampler
    from streamapp.pipeline.dead_letter_counts import Unresolved
    from streamapp.pipeline.facts import EngineFacts

log = logging.getLogger(__name__)

READY_CHECK: Final = 0.2
"""Seconds between looks at the engine until it is ready; the listener usually says so first."""
CLOSE_LOOP: Final = 3.0
"""Seconds for what was left running on the loop to end."""
GC_THRESHOLDS: Final = (50_000, 50, 50)
"""Python's collector costs as much as the work at some ten thousand records a second; nearly nothing here makes cycles."""


class EngineLike(Protocol):
    """What the shell asks of `streamapp.pipeline.engine.Engine`."""

    failure: asyncio.Future[BaseException]
    sampler: Sampler

    @property
    def ready(self) -> bool: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def table(self, name: str) -> Handle: ...
    def assignment(self) -> set[Partition]: ...
    def restored(self) -> set[Partition]: ...

    def restoring(self) -> list[dict[str, Any]]:
        """Return, per table partition that is not restored yet, how far it is and what stands in the way."""
        ...

    def facts(self) -> EngineFacts:
        """Return what the engine tells of itself as of now. On the loop."""
        ...

    def unresolved(self) -> list[Unresolved]:
        """Return how many dead letters are unresolved, per partition of a dead-letter topic that this worker owns."""
        ...

    def source_partitions(self) -> Mapping[str, int]:
        """Return the partition counts of the source topics."""
        ...

    def is_leader(self) -> bool: ...
    def held_tables(self) -> list[HeldTable]: ...
    async def tick(self, function: Callable[[], Awaitable[None]], *, name: str, on_leader: bool = False) -> None: ...
    def send(self, outgoing: Outgoing) -> None: ...


class EngineService(Service):
    """The engine as one of the app's services: after the web server, whose probes already answer, and stopped before it."""

    def __init__(self, app: StreamApp, **options: Any) -> None:
        super().__init__(**options)
        self.app = app
        self.rebalances = Rebalances(app)
        self._engine: EngineLike | None = None
        self._began = 0.0

    async def on_start(self) -> None:
        self._began = time.monotonic()
        self.app.reporter.start()
        engine = await self.app.build_engine()
        if self.should_stop:
            await engine.stop()
            return
        self._engine = engine
        await engine.start()
        self.app.engine_started(engine)
        self.add_future(self._watch(engine))
        self.add_future(self.app.doctor_notes.live(lambda: engine.ready))

    async def _watch(self, engine: EngineLike) -> None:
        failure = await asyncio.shield(engine.failure)
        # mode's crash() would log the failure with a traceback here and again in the worker.
        for node in self.beacon.walk():
            if isinstance(node.data, Service):
                node.data._crash(failure)
        self._crash(failure)

    async def on_stop(self) -> None:
        engine, self._engine = self._engine, None
        self.app.draining = True
        await self.app.reporter.stop()
        self.app.doctor_notes.stops()
        if engine is not None:
            log_event(log, logging.INFO, Event.WORKER_STOPPING, "the worker stops: what is in hand is finished")
        if engine is not None:
            try:
                await engine.stop()
            finally:
                self.app.engine_stopped()
                await self.rebalances.stop()

    async def wait_until_ready(self) -> bool:
        """Return True when the worker stops before it is ready."""
        while not self.should_stop and not self.app.should_stop:
            if self._engine is not None and self._engine.ready:
                self._say_ready(self._engine)
                return False
            await self.sleep(READY_CHECK)
        return True

    def _say_ready(self, engine: EngineLike) -> None:
        took, held = time.monotonic() - self._began, len(engine.assignment())
        log_event(
            log, logging.INFO, Event.WORKER_READY,
            f"ready after {took:.1f} s: {held} partitions" if held else f"ready after {took:.1f} s, as a spare: no partition is left for it",
            count=held, duration_seconds=round(took, 3),
        )  # fmt: skip


class Boot(faust.app.base.BootStrategy):
    """Faust's services around our engine: sensors, web, engine. Neither consumer nor producer, conductor, tables or agents."""

    app: StreamApp

    def server(self) -> Iterable[ServiceT]:
        return self._chain(self.sensors(), self.web_server(), [self.app.engine_service])

    def client_only(self) -> Iterable[ServiceT]:
        return []

    def producer_only(self) -> Iterable[ServiceT]:
        return self._chain(self.web_server())

    def _should_enable_web(self) -> bool:
        # The command line sets `web_enabled` whatever the settings say, so the port decides first.
        return self.app.settings.web.web_port != 0 and bool(super()._should_enable_web())


class _EndsByExitCode(mode.Worker):
    """Runs a service until it ends, then ends the process by the contract's exit codes."""

    logs_failures = True

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped. Exits 0 after a clean end, 1 fatal, 2 refused, 3 no broker answered."""
        failure: BaseException | None = None
        loop = self.loop
        self._starting_fut = asyncio.ensure_future(self.start(), loop=loop)
        try:
            loop.run_until_complete(self._starting_fut)
        except asyncio.CancelledError:
            pass
        except (Exception, SystemExit) as raised:  # the thread's edge: it becomes the exit code
            failure = raised
        finally:
            maybe_cancel(self._starting_fut)
            self.on_worker_shutdown()
            failure = self._stopped_with(failure) or self.crash_reason
            self._close_loop()
        raise SystemExit(exit_code(failure, log_it=self.logs_failures))

    def _stopped_with(self, failure: BaseException | None) -> BaseException | None:
        """Stop what runs. A failure while stopping counts only if there is no earlier one."""
        try:
            if self._signal_stop_future is not None:
                self.loop.run_until_complete(self._signal_stop_future)
            elif not self._stopped.is_set():
                self.loop.run_until_complete(self.stop())
        except asyncio.CancelledError:
            pass
        except Exception as raised:  # as above
            return failure or raised
        return failure

    def _close_loop(self) -> None:
        loop = self.loop
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            if tasks:  # within a bound: one that swallows its cancellation must not keep the process
                loop.run_until_complete(asyncio.wait(tasks, timeout=CLOSE_LOOP))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class Worker(_EndsByExitCode, faust.worker.Worker):
    """Faust's worker, ended by the contract's exit codes."""

    app: StreamApp

    def execute_from_commandline(self) -> NoReturn:
        wait_finely(self.loop)
        super().execute_from_commandline()

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Called when Faust has set the log up, for `-l` and `-f`. Whoever configures logging has it as configured."""
        super().on_setup_root_logger(logger, level)
        if self.logging_config is None:
            settings = self.app.settings
            lines = JsonLines(lambda: self.app.worker_id, version_of(settings.identity), current)
            arrange(logger.handlers[0], lines, log_format=settings.observe.log_format)

    async def on_startup_finished(self) -> None:
        await super().on_startup_finished()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)


class CommandWorker(_EndsByExitCode):
    """What runs `faust send` and an app's own commands: one line and an exit code instead of tracebacks."""

    @property
    def logs_failures(self) -> bool:  # type: ignore[override]  # a class attribute there
        return bool(self.debug)

    async def _default_stop_children(self) -> None:
        for child in reversed(self._children):
            try:
                await child.stop()
            except Exception as failure:  # the command's own; Faust logs it here, and again where it came from
                if self.crash_reason is None:
                    self.crash_reason = failure


def exit_code(failure: BaseException | None, *, log_it: bool = True) -> int:
    """Return the process's exit code, and say on stderr why it is not 0: one line where a user can act on it.

    `log_it`: log what a user cannot act on, with its traceback.
    """
    if failure is None:
        return 0
    if isinstance(failure, SystemExit):
        return failure.code if isinstance(failure.code, int) else 1
    if isinstance(failure, click.ClickException):
        say(failure)
        return failure.exit_code
    if isinstance(failure, ConfigurationError):
        say(failure)
        return 2
    if isinstance(failure, BrokerUnreachable):
        say(failure)
        return 3
    if isinstance(failure, (Fatal, StreamAppError)):
        say(failure)
        if isinstance(failure, RivalWorker):
            if log_it:
                log_event(
                    log, logging.CRITICAL, Event.RIVAL_WORKER, f"the worker stops: {failure}", error_type=type(failure).__name__
                )
        elif log_it:
            log_event(log, logging.CRITICAL, Event.WORKER_FAILED, f"the worker stops: {failure}", exc_info=failure)
        return 1
    log_event(log, logging.CRITICAL, Event.WORKER_FAILED, f"the worker stops: {failure!r}", exc_info=failure)
    return 1


def say(failure: BaseException) -> None:
    """Write one line to the real stderr (Faust's may go to the log)."""
    line = " ".join(str(failure).split())
    print(f"streamapp: {line}", file=sys.__stderr__, flush=True)


def say_refusals_in_one_line() -> None:
    """End the `faust` command with 2 and one line when an app is refused while it is imported.

    The command lets the exception through to the interpreter, which knows only a traceback and 1.
    """
    inner = sys.excepthook
    if "faust.cli.base" not in sys.modules or getattr(inner, "says_refusals", False):
        return

    def hook(kind: type[BaseException], failure: BaseException, trace: Any) -> None:
        if not isinstance(failure, ConfigurationError) or os.environ.get("FAUST_DEBUG"):
            inner(kind, failure, trace)
            return
        say(failure)
        raise SystemExit(2)

    hook.says_refusals = True  # type: ignore[attr-defined]  # how a second app finds the first one's hook
    sys.excepthook = hook


def port_in_use(port: int, failure: OSError) -> SettingInvalid:
    """Return what to raise when the web server cannot listen."""
    reason = failure.strerror or str(failure)
    return SettingInvalid(
        f"STREAMAPP_WEB_PORT={port}: cannot listen there ({reason}): give each worker of a machine its own port, or 0 for none"
    )


__all__ = ["Boot", "EngineLike", "EngineService", "Worker", "exit_code", "port_in_use", "say", "say_refusals_in_one_line"]
