"""A steady load of orders in the background, while faults happen: bounded, and the same records for the same seed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import inf
from types import TracebackType
from typing import Self

from tests.support.order_jobs import OrderJob
from tests.support.orders import Fed, OrderPlan, feed

LASTS: float = 4 * 3600.0
"""Seconds that a load may take in all."""


class Load:
    """Orders for one job on a thread of its own, from `start()` to `stop()` or to `at_most`, whichever comes first."""

    def __init__(
        self,
        job: OrderJob,
        *,
        rate: float,
        at_most: int,
        seed: int,
        done: Callable[[], int] = lambda: 0,
        ahead: float = inf,
        **plan: float,
    ) -> None:
        """`rate`: orders a second, while at most `ahead` of them are not `done`: a machine too busy for the rate sets its own.

        `plan`: what else an OrderPlan takes; poison and resends come by its shares.
        """
        made = OrderPlan(**{"count": at_most, "seed": seed, "first_id": job.fed, **plan})  # type: ignore[arg-type]  # a plan's numbers
        self._job, self._rate, self._records = job, rate, made.records()
        self._done, self._ahead, self._before = done, ahead, job.fed
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._error: Exception | None = None
        self.fed = 0
        """Orders delivered so far."""

    def start(self) -> Load:
        self._thread.start()
        return self

    @property
    def over(self) -> bool:
        """Whether all `at_most` were fed. Raises what went wrong on the thread."""
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self, deadline: float = 60.0) -> int:
        """Feed no more; return how many orders were fed, and count them as the job's. May be called twice."""
        self._halt.set()
        if self._thread.ident is not None:
            self._thread.join(deadline)
            assert not self._thread.is_alive(), "the load does not stop"
        if self._error is not None:
            raise self._error
        return self.fed

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._halt.set()
        if error is None:
            self.stop()

    def _until_halted(self) -> Iterator[Fed]:
        for number, fed in enumerate(self._records):
            if number % 50 == 0:
                while not self._halt.is_set() and self._before + number - self._done() > self._ahead:
                    self._halt.wait(0.05)
            if self._halt.is_set():
                return
            yield fed

    def _run(self) -> None:
        try:
            for done in feed(self._job.bootstrap, self._until_halted(), rate=self._rate, every=50, deadline=LASTS):
                self.fed = done
        except Exception as error:  # a thread's edge: `stop` raises it where someone sees it
            self._error = error
        finally:
            self._job.count_fed(self.fed)
