"""A child process asks what a worker may not: it is never waited for, one that hangs is ended, and one that failed is asked again soon."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from streamapp.kafka.surroundings import LIFE, Question, Surroundings
from streamapp.monitor.enquiry import AGAIN_AFTER_FAILURE, APART, Enquiry
from tests.support.topics import wait_until

QUESTION = Question(client={"bootstrap.servers": "127.0.0.1:1", "sasl.password": "hush"}, topics=("orders",), group="shop")
ANSWER = '{"topics": {"orders": {"retention.ms": "5"}}, "offsets_retention": 60.0, "members": null}'
ASKED = f"import sys; assert b'orders' in sys.stdin.buffer.read(); print('''{ANSWER}''')"


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    wall = monotonic


Make = Callable[[str], Enquiry]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Iterator[Make]:
    made: list[Enquiry] = []

    def enquiry(code: str) -> Enquiry:
        made.append(Enquiry(lambda: QUESTION, every=300.0, first=10.0, command=(sys.executable, "-c", code), clock=clock))
        return made[-1]

    yield enquiry
    for each in made:
        each.stop()


def come(enquiry: Enquiry) -> Surroundings | None:
    """Return what comes of the enquiry that runs; None once it has ended without."""
    found: list[Surroundings | None] = []

    def over() -> bool:
        found[:] = [enquiry.answer()]
        return found[0] is not None or enquiry._process is None

    wait_until(over, why=lambda: "the child goes on", every=0.01)
    return found[0]


def test_the_answer_of_the_child_is_taken_when_it_is_there_and_the_next_one_is_asked_for_in_its_time(
    clock: Clock, make: Make
) -> None:
    enquiry = make(ASKED)
    clock.now = 9.0
    assert enquiry.answer() is None
    assert enquiry._process is None, "not before the start is over"
    clock.now = 10.0
    assert enquiry.answer() is None, "nobody waits for it"
    found = come(enquiry)
    assert found == Surroundings(topics={"orders": {"retention.ms": "5"}}, offsets_retention=60.0, members=None)
    clock.now = 309.0
    assert enquiry.answer() is None
    assert enquiry._process is None
    clock.now = 310.0
    enquiry.answer()
    assert enquiry._process is not None


def test_one_that_came_to_nothing_is_made_again_soon(clock: Clock, make: Make) -> None:
    for code in ("raise SystemExit(1)", "print('no answer')", "import os; os.abort()"):
        clock.now = 0.0
        enquiry = make(code)
        clock.now = 10.0
        enquiry.answer()
        assert come(enquiry) is None
        clock.now = 10.0 + AGAIN_AFTER_FAILURE
        enquiry.answer()
        assert enquiry._process is not None


def test_a_child_that_hangs_is_ended_and_so_is_one_at_a_stop(clock: Clock, make: Make) -> None:
    enquiry = make("import time; time.sleep(600)")
    clock.now = 10.0
    enquiry.answer()
    first = enquiry._process
    clock.now += LIFE
    assert enquiry.answer() is None
    assert first is not None
    assert first.returncode == -9
    clock.now += 300.0
    enquiry.answer()
    second = enquiry._process
    assert second is not None
    enquiry.stop()
    enquiry.stop()
    assert second.returncode == -9


def test_a_spare_is_answered_at_once_but_a_group_that_turns_and_turns_asks_no_crowd(clock: Clock, make: Make) -> None:
    enquiry = make(ASKED)
    enquiry.soon()
    enquiry.answer()
    assert come(enquiry) is not None
    enquiry.soon()
    enquiry.answer()
    assert enquiry._process is None
    clock.now += APART
    enquiry.answer()
    assert enquiry._process is not None


def test_secrets_are_in_no_argument(clock: Clock, make: Make) -> None:
    enquiry = make("import sys, time; time.sleep(600)")
    clock.now = 10.0
    enquiry.answer()
    assert enquiry._process is not None
    assert "hush" not in " ".join(map(str, enquiry._process.args))  # type: ignore[arg-type]  # a sequence
