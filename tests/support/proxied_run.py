"""Workers under a steady load behind a proxy, what faults did to them, and the figures that are kept of it.

with ProxiedRun(line, tmp_path, Scenario(name="connections cut", command="…", seed=seed), workers=3) as run:
    for _ in range(rounds):
        run.strike(line.proxy.cut)
        run.recovered()
    run.finish()
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.evidence import Scenario, keep
from tests.support.fault_run import SEED, count_from_logs, seed_of
from tests.support.order_jobs import OrderJob
from tests.support.proxied_broker import ProxiedBroker
from tests.support.topics import wait_until
from tests.support.verdict import Verdict
from tests.support.workers import Worker

QUICK: Final = {
    "STREAMAPP_COMMIT_INTERVAL": "0.1",
    "STREAMAPP_SESSION_TIMEOUT": "6",
    # A client gives up on a request after a quarter of it.
    "STREAMAPP_TRANSACTION_TIMEOUT": "10",
}
RATE: Final = float(os.environ.get("STREAMAPP_TEST_FAULT_RATE", "300"))
"""Orders fed each second."""
BATCH: Final = 100
HEALED: Final = 180.0
"""Seconds within which a worker commits again and the lag is gone, on a machine that is busy with other things; 60 are promised."""


def scenario_of(name: str, key: str) -> Scenario:
    """Return a scenario with this run's seed and the command that repeats it; `key` picks its test."""
    seed = seed_of(name)
    return Scenario(name=name, command=f"{SEED}={seed} make faults PYTEST_ARGS='-k {key}'", seed=seed)


class SteadyLoad:
    """Orders, so many a second, from a thread of its own, until it is stopped."""

    def __init__(self, job: OrderJob, rate: float) -> None:
        self._job, self._rate = job, rate
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="steady-load", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Return when nothing more is fed. Raises what went wrong."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                self._job.feed(BATCH)
                due = max(due + BATCH / self._rate, time.monotonic() - 1)
                self._stop.wait(max(0.0, due - time.monotonic()))
        except BaseException as error:  # a thread's edge: stop() raises it
            self._error = error


class ProxiedRun:
    """One scenario from its workers' start to the verdict. A context manager; nothing that it started outlives it."""

    def __init__(
        self,
        line: ProxiedBroker,
        home: Path,
        scenario: Scenario,
        *,
        workers: int = 3,
        rate: float = RATE,
        keeps: bool = True,
        **env: str,
    ) -> None:
        """`keeps`: the figures are for EVIDENCE.md."""
        self.line, self.scenario, self._keeps = line, scenario, keeps
        self.random = random.Random(scenario.seed)
        self.names = [f"w{number + 1}" for number in range(workers)]
        self._env = {**QUICK, **env}
        self.job = OrderJob(line.direct, home, STREAMAPP_BROKER=line.proxied)
        self.load = SteadyLoad(self.job, rate)
        self._end = time.monotonic()
        self._inside = 0

    def __enter__(self) -> Self:
        try:
            self.job.start_ready(*self.names, **self._env)
            self.load.start()
            self.recovered(note=False)
            self.job.reader.wait_for(1)
            self.job.reader.longest_silence = 0.0  # the start is no fault
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        finally:
            if error is not None:
                print(self.job.workers.tails())

    def close(self) -> None:
        try:
            self.load.stop()
        finally:
            self.job.close()

    # --- what a scenario does

    def worker(self) -> Worker:
        """Return one of the workers, as the seed has it."""
        return self.job.workers[self.random.choice(self.names)]

    def producer(self, worker: Worker) -> str:
        """Return the client id of its producer."""
        return f"{self.job.app_id}-{worker.id}-producer"

    def strike(self, fault: Callable[[], object], *, within: float = 1.0) -> None:
        """Do `fault` at a moment of the seed's, at most `within` seconds from now, every other time inside a transaction."""
        threading.Event().wait(self.random.uniform(0.0, within))
        if self.random.random() < 0.5:
            wait_until(self.line.proxy.open_transactions, deadline=HEALED, every=0.001, why=self.state)  # type: ignore[arg-type]  # names are true
        inside = bool(self.line.proxy.open_transactions())
        fault()
        self.landed(inside=inside)

    def landed(self, *, inside: bool, times: int = 1) -> None:
        """Note that a fault struck, and whether it met an open transaction."""
        self.scenario.faults += times
        self._inside += times * inside
        self._end = time.monotonic()

    def start(self, worker: Worker) -> None:
        """Start the next life of a worker that died."""
        self.job.start(worker.id, **self._env)
        self._end = time.monotonic()

    def recovered(self, *, note: bool = True) -> None:
        """Wait until every worker has committed after the last fault; note how long the slowest took."""
        producers = {self.producer(self.job.workers[name]) for name in self.names}
        first: dict[str, float] = {}

        def all_committed() -> bool:
            first.update(self.line.proxy.commits_since(self._end))
            self.no_exits()
            return producers <= set(first)

        wait_until(all_committed, deadline=HEALED, why=lambda: f"no commit of {producers - set(first)}\n{self.state()}")
        if note:
            self.scenario.recoveries.append(round(max(first[name] for name in producers), 3))

    def no_exits(self) -> None:
        """No worker may have ended by itself: what strikes them here is healed by an abort or a new producer."""
        ended = {name: self.job.workers[name].exit_code for name in self.names if not self.job.workers[name].alive}
        assert not ended, f"ended by themselves: {ended}\n{self.state()}"

    def finish(self) -> Verdict:
        """End the load, wait for the lag to go, stop all in order, keep the figures, and hold everything against the contract."""
        self.load.stop()
        lag = self.job.caught_up(HEALED)
        self.no_exits()
        codes = self.job.workers.stop()
        verdict = self.judged(lag)
        assert set(codes.values()) == {0}, f"unclean stops: {codes}\n{self.state()}"
        return verdict.require_ok()

    def judged(self, lag: float | None = None) -> Verdict:
        """Hold what is there against the contract, and keep the figures, whatever they are."""
        verdict = self.job.verdict()
        scenario = self.scenario
        scenario.records = verdict.counts.orders
        scenario.inside_a_transaction = self._inside
        scenario.violations = {kind.name: number for kind, number in verdict.by_kind().items()}
        count_from_logs(scenario, self.job.workers)
        scenario.figures["longest silence of a reader, s"] = round(self.job.reader.longest_silence, 1)
        if lag is not None:
            scenario.figures["seconds to lag 0"] = round(lag, 1)
        if self._keeps:
            keep(scenario)
        print(f"{scenario}\n{verdict.report()}")
        return verdict

    def state(self) -> str:
        return self.job.workers.tails()


__all__ = ["ProxiedRun", "SteadyLoad", "scenario_of"]
