"""One scenario of the fault rig: a job under a steady load, faults, what each of them met and how long the worker took to be back.

    with FaultRun(job, "SIGKILL at random, three workers", rate=1_000, at_most=100_000) as run:
        run.kill_and_restart(run.rng.choice(workers))
        run.settle()

`settle` is the end that every scenario has: the load stops, the lag goes to 0 unaided, all workers stop with exit code 0, the checker
looks at everything, and the figures are kept for EVIDENCE.md.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.commit_watch import CommitWatch
from tests.support.coordinator import open_transactions
from tests.support.evidence import Scenario, keep
from tests.support.ledger import ORDERS, Rules
from tests.support.load import Load
from tests.support.order_jobs import OrderJob
from tests.support.topics import Countdown, Place, wait_until
from tests.support.verdict import Verdict
from tests.support.workers import Worker, Workers

SEED: Final = "STREAMAPP_TEST_FAULT_SEED"
LAG_GONE: Final = 60.0
"""Seconds from the last fault until everything is processed, unaided."""
AHEAD: Final = 10.0
"""Seconds of load that may be undone: what faults hold up is caught up with, what the machine cannot carry is not fed."""
AT_WORK: Final = 0.8
"""Share of the kills that wait until the victim works."""
BACK: Final = 90.0
"""Seconds in which a worker that was started again has to commit, on a busy machine."""
_ASSIGNED: Final = re.compile(r"^\[([\d-]+ [\d:]+),(\d+)\].*partitions assigned: (.*); \d+ held", re.MULTILINE)
_DROPPED: Final = re.compile(r"unit dropped, its records are read again \((\d+)\)")
_UP: Final = "[^Worker]: Starting"
_REBUILT: Final = "new producer under the same id"


def seed_of(name: str) -> int:
    """Return the seed of this run: the environment's, which repeats a run, or a new one."""
    given = os.environ.get(SEED)
    seed = int(given) if given else random.SystemRandom().randrange(1, 1_000_000)
    print(f"{name}: seed {seed} ({SEED}={seed} feeds the same orders and draws the same faults)")
    return seed


@dataclass(frozen=True, slots=True)
class Return:
    """A life of a worker that began after a fault."""

    worker: Worker
    life: int
    at: float


class FaultRun:
    """A context manager: it ends the load and the watch, the job ends the workers."""

    def __init__(
        self, job: OrderJob, name: str, *, rate: float, at_most: int, seed: int | None = None, kept: bool = True, **plan: float
    ) -> None:
        """`rate`, `at_most` and `plan` are the load's. `kept`: the figures are for EVIDENCE.md."""
        seed = seed_of(name) if seed is None else seed
        self.job, self.rng, self._kept = job, random.Random(seed), kept
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
        command = f"{SEED}={seed} .venv/bin/python -m pytest '{test}'" if test else f"{SEED}={seed} make audit"
        self.scenario = Scenario(name=name, command=command, seed=seed, inside_a_transaction=0)
        self.watch = CommitWatch(job.bootstrap, job.app_id)
        self.load = Load(job, rate=rate, at_most=at_most, seed=seed, done=self.watch.done, ahead=rate * AHEAD, **plan)
        self.while_waiting: Callable[[], None] = lambda: None
        """Called while the load goes on and nothing is struck: for a display."""
        self._not_back = 0
        self.returns: list[Return] = []
        self.extra_recoveries: list[float] = []
        """Of faults that are no restart: seconds from the fault's end to the next commit."""

    def __enter__(self) -> Self:
        self.watch.start()
        self.load.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.watch.stop()
        if error is None:
            self.load.stop()
        else:
            self.load.__exit__(kind, error, trace)

    # --- faults

    def strike(self, worker: Worker, number: signal.Signals) -> None:
        """Send a signal that stops the worker at once, and find out whether that met an open transaction of its."""
        back = self.is_back(worker)
        worker.send(number)
        if number is signal.SIGKILL:
            worker.wait(10)
            self.scenario.kills += 1
        self.scenario.faults += 1
        if back:  # else it would be its predecessor's that is still open
            met = open_transactions(self.job.bootstrap, [transactional_id(self.job, worker)])
            self.scenario.inside_a_transaction = (self.scenario.inside_a_transaction or 0) + len(met)
        else:
            self._not_back += 1
            self.scenario.figures["faults that met a worker that was not back yet"] = self._not_back

    def start(self, worker: Worker, **env: str) -> Return:
        """Start the worker's next life."""
        at = time.time()
        self.job.start(worker.id, **env)
        back = Return(worker, worker.lives, at)
        self.returns.append(back)
        return back

    def kill_and_restart(self, worker: Worker, **env: str) -> Return:
        self.strike(worker, signal.SIGKILL)
        return self.start(worker, **env)

    def kill_one_of(self, worker_ids: Sequence[str], **env: str) -> Return:
        """Kill and restart one that is drawn: mostly one at work, and now and then one that is not back from the kill before."""
        worker = self.job.workers[self.rng.choice(worker_ids)]
        if self.rng.random() < AT_WORK:
            self.wait_until_back(worker)
        return self.kill_and_restart(worker, **env)

    def wait_until_back(self, worker: Worker, deadline: float = BACK) -> None:
        """Wait until the worker has committed something since it was started again."""
        wait_until(
            lambda: self.is_back(worker) or self.load.over or self._waits(),
            deadline=deadline,
            every=0.1,
            why=lambda: f"{worker.id} commits nothing\n{self.job.workers.tails()}",
        )

    def is_back(self, worker: Worker) -> bool:
        back = next((each for each in reversed(self.returns) if each.worker is worker), None)
        return back is None or self.recovery(back) is not None

    def pause_between_faults(self, shortest: float, longest: float) -> None:
        """Let the load go on for a while: the time at which a fault comes is what is drawn, not a wait for anything."""
        countdown = Countdown(self.rng.uniform(shortest, longest))
        while not countdown.over:
            time.sleep(min(0.2, countdown.left))
            self._waits()

    def _waits(self) -> bool:
        self.while_waiting()
        return False

    # --- what is measured

    def recovery(self, back: Return) -> float | None:
        """Return the seconds from a restart to the first commit of orders of that life; None while there is none."""
        assigned = self.assigned(back.worker, back.life)
        if not assigned:
            return None
        # Not before it was given partitions: a commit that its predecessor had asked for may still show up.
        moved = self.watch.first_after(assigned[0][0], assigned[0][1])
        return None if moved is None else moved - back.at

    @staticmethod
    def assigned(worker: Worker, life: int) -> list[tuple[float, list[Place]]]:
        """Return when a life was given partitions of `orders`, and which, from its log."""
        given = []
        for match in _ASSIGNED.finditer(life_of(worker, life)):
            places = [(ORDERS, int(name.partition("/")[2])) for name in match[3].split(", ") if name.startswith(f"{ORDERS}/")]
            if places:
                given.append((datetime.fromisoformat(match[1]).timestamp() + int(match[2]) / 1000, places))
        return given

    # --- the end

    def settle(self, rules: Rules | None = None, *, lag_gone: float = LAG_GONE) -> Verdict:
        """End the load, wait for the lag to go, stop the workers, check, and keep the figures. Raises what was violated."""
        self.load.stop()
        figures = self.scenario.figures
        try:
            figures["lag back to 0 after (s)"] = round(self.job.caught_up(lag_gone), 1)
            self.watch.stop()
            codes = self.job.workers.stop()
            figures["exit codes at SIGTERM"] = ", ".join(f"{name} {code}" for name, code in sorted(codes.items()))
            verdict = self.job.verdict(rules, deadline=600)
        finally:
            self.scenario.recoveries = [took for back in self.returns if (took := self.recovery(back)) is not None]
            self.scenario.recoveries += self.extra_recoveries
            count_from_logs(self.scenario, self.job.workers)
        self.scenario.records = verdict.counts.orders
        self.scenario.violations = {kind.name: count for kind, count in verdict.by_kind().items()}
        figures["priced"] = verdict.counts.priced
        figures["duplicates dropped"] = verdict.counts.duplicates
        figures["dead letters"] = verdict.counts.dead_letters
        if self._kept:
            keep(self.scenario)
        verdict.require_ok()
        unclean = {each: code for each, code in codes.items() if code != 0 and not self.was_not_up(each, code)}
        assert not unclean, f"unclean stops: {unclean}\n{self.job.workers.tails()}"
        return verdict

    def was_not_up(self, worker_id: str, code: int) -> bool:
        """Whether the signal met a process that was still importing: nobody had told it yet what a SIGTERM means."""
        worker = self.job.workers[worker_id]
        return code == -signal.SIGTERM and _UP not in life_of(worker, worker.lives)


def count_from_logs(scenario: Scenario, workers: Workers) -> None:
    """Count aborts, new producers and records read again of every life: those that were killed have said so before."""
    text = "".join(worker.log_text() for worker in workers.all.values())
    dropped = [int(count) for count in _DROPPED.findall(text)]
    scenario.aborts, scenario.replayed = len(dropped), sum(dropped)
    scenario.rebuilds = text.count(_REBUILT)


def transactional_id(job: OrderJob, worker: Worker) -> str:
    return f"{job.app_id}-{worker.id}"


def life_of(worker: Worker, life: int) -> str:
    """Return what a life wrote to the log."""
    return _lives(worker.log)[life - 1]


def _lives(log: Path) -> list[str]:
    return re.split(r"^--- .*, life \d+ ---$", log.read_text(errors="replace"), flags=re.MULTILINE)[1:]
