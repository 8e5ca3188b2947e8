"""One run of the order processor whose tables meet a fault between two lives of its worker, or in the middle of one, and the verdict."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.support.changelogs import differences
from tests.support.evidence import Scenario, keep
from tests.support.order_jobs import OrderJob
from tests.support.orders import Fed, OrderPlan
from tests.support.topics import wait_until
from tests.support.verdict import Verdict
from tests.support.workers import Worker

_WIPED: Final = re.compile(r"Wiping the store of (\S+), to restore it whole: (.*)")


@dataclass(slots=True)
class StoreRun:
    """The job, its only worker, and what was fed to it first."""

    job: OrderJob
    worker: Worker
    first: list[Fed]
    seed: int
    seconds: dict[str, float] = field(default_factory=dict)
    """How long what took."""
    kills: int = 0

    @property
    def wiped(self) -> dict[str, str]:
        """What the log says was wiped, and why: `processed_orders/3` or, found at the changelog, its topic's partition."""
        return {match[1]: match[2] for match in _WIPED.finditer(self.worker.log_text())}

    def took(self, what: str, seconds: float) -> None:
        self.seconds[what] = round(seconds, 2)

    def stop(self) -> None:
        assert self.worker.stop() == 0, self.worker.tail()

    def start(self) -> None:
        """Start the worker's next life and return once its tables are restored."""
        began = time.monotonic()
        [self.worker] = self.job.start_ready("w1")
        self.took("seconds until restored", time.monotonic() - began)

    def feed_again(self) -> None:
        """Feed all of the first orders once more, each now a duplicate that only the tables know, and then new ones."""
        self.job.feed_these(self.first)
        self.job.feed(len(self.first) // 2, first_id=1_000_000)

    def finish(self, name: str | None = None, **figures: str | float) -> Verdict:
        """Hold everything against the contract, and the closed stores against their changelogs.

        What was found is kept as scenario `name`, if it has one, whatever it was.
        """
        self.job.caught_up()
        codes = self.job.workers.stop()
        verdict = self.job.verdict()
        other = differences(self.job.bootstrap, self.job.app_id, self.worker.data_dir)
        if name is not None:
            keep(
                Scenario(
                    name=name,
                    command=f"STREAMAPP_TEST_FAULT_SEED={self.seed} python -m pytest '{_this_test()}'",
                    seed=self.seed,
                    records=verdict.counts.orders,
                    kills=self.kills,
                    faults=1,
                    violations={kind.value: count for kind, count in verdict.by_kind().items()}
                    | ({"table differs from its changelog": len(other)} if other else {}),
                    figures={"stores wiped": len(self.wiped), **self.seconds, **figures},
                )
            )
        assert set(codes.values()) == {0}, f"unclean stops: {codes}\n{self.worker.tail()}"
        verdict.require_ok()
        assert other == []
        assert verdict.counts.duplicates >= len(self.first) * 0.8, "the first orders, fed again, were known"
        return verdict


@contextmanager
def store_run(job: OrderJob, orders: int, seed: int) -> Iterator[StoreRun]:
    """Have `orders` processed, so that tables and changelogs hold something; the worker runs."""
    first = list(OrderPlan(count=orders, seed=seed, now_ms=int(time.time() * 1000)).records())
    [worker] = job.start_ready("w1")
    job.feed_these(first)
    job.caught_up()
    yield StoreRun(job, worker, first, seed)


def settled(run: StoreRun, orders: int) -> None:
    """Wait until `orders` are done, the worker alive all the time."""

    def through() -> bool:
        assert run.worker.alive, run.worker.tail()
        return run.job.processed() >= orders

    wait_until(through, deadline=120, every=0.2, why=lambda: f"{run.job.processed()} of {orders}\n{run.worker.tail()}")


def _this_test() -> str:
    return os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
