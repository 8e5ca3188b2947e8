"""A transaction thread that has ended answers who asks it for a commit, so that no stop waits for a commit that nobody makes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from streamapp.clock import Deadline, SystemClock
from streamapp.errors import InvariantBroken
from streamapp.pipeline.admission import Admission
from streamapp.pipeline.lane import Lane
from streamapp.pipeline.overlay import TablePartition
from streamapp.pipeline.transaction import TransactionThread
from streamapp.pipeline.unit_of_work import UnitOfWork
from tests.support.fakes import FakeBroker, FakeProducer


class Listener:
    """Has the thread fail at its first abort."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.told = threading.Event()

    def still_owned(self, unit: UnitOfWork) -> list[Lane]:
        return []

    def superseded(self, unit: UnitOfWork, partition: TablePartition) -> bool:
        return False

    def unit_committed(self, unit: UnitOfWork, refused: dict[TablePartition, Exception]) -> None: ...

    def units_dropped(self, cause: Exception, units: Sequence[UnitOfWork], *, unknown: bool) -> None: ...

    def closing_units(self) -> None:
        raise InvariantBroken("made by the test")

    def stopped_for(self, failure: BaseException) -> None:
        self.failure = failure
        self.told.set()


def test_a_commit_asked_for_before_and_after_the_thread_ended_is_answered() -> None:
    admission = Admission(SystemClock(), overlay_max_bytes=1_000_000, every=None)
    listener, broker = Listener(), FakeBroker()
    thread = TransactionThread(
        admission,
        lambda: FakeProducer(broker),
        listener,
        SystemClock(),
        transactional_id="shop-w1",
        transaction_timeout=30.0,
        exactly_once=True,
    )
    asked = thread.commit_now()
    admission.failure = InvariantBroken("the open unit can only be aborted")
    thread.start()
    try:
        assert asked.result(timeout=10) is False
        assert listener.told.wait(10)
        assert isinstance(listener.failure, InvariantBroken)
        assert thread.commit_now().result(timeout=10) is False
    finally:
        thread.stop(Deadline.after(5))
