"""Every contender is checked first and measured in turn; what the time does not allow is left out by name, not in silence."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks import session as sessions
from tests.benchmarks.checking import OutputWrong
from tests.benchmarks.contenders import STREAMAPP, YARDSTICK, Contender
from tests.benchmarks.latency import LOADS, Latency
from tests.benchmarks.measure import Figures, Plan
from tests.benchmarks.session import QUICK, UNKNOWN_STEP, Kind, Session, Step, expected_seconds, steps_of
from tests.support.bench_results import contender, figures, latency

OURS, LOOP, GUEST = contender("dedupe", STREAMAPP), contender("dedupe", YARDSTICK), contender("dedupe", "Guest")
EVERYONE = [LOOP, OURS, GUEST]


def test_all_are_checked_then_measured_in_rounds_then_timed_this_project_first() -> None:
    steps = steps_of(EVERYONE, 2, with_latency=True)
    assert [(step.kind, step.contender.name, step.round) for step in steps] == [
        *((Kind.CHECK, one.name, 0) for one in EVERYONE),
        *((Kind.RUN, one.name, number) for number in (1, 2) for one in EVERYONE),
        (Kind.QUICK, STREAMAPP, 0),
        (Kind.LATENCY, STREAMAPP, 0),
        (Kind.LATENCY, YARDSTICK, 0),
        (Kind.LATENCY, "Guest", 0),
    ]
    assert {step.kind for step in steps_of(EVERYONE, 1, with_latency=False)} == {Kind.CHECK, Kind.RUN}


def test_a_step_is_expected_to_last_as_long_as_the_same_before_else_as_others_of_its_kind() -> None:
    step = Step(Kind.RUN, OURS, 3)
    assert expected_seconds(step, []) == UNKNOWN_STEP
    assert expected_seconds(step, [(Step(Kind.CHECK, OURS), 99.0)]) == UNKNOWN_STEP
    done = [(Step(Kind.RUN, LOOP, 1), 4.0), (Step(Kind.RUN, GUEST, 1), 8.0)]
    assert expected_seconds(step, done) == 6.0
    assert expected_seconds(step, [*done, (Step(Kind.RUN, OURS, 1), 5.0), (Step(Kind.RUN, OURS, 2), 7.0)]) == 6.0


class Stage:
    """Stands in for brokers and processes; `wrong` contenders fail where `at` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wrong: set[str] = set()
        self.stop_at: int | None = None
        self.runs: list[tuple[str, int, bool]] = []
        self.timed: list[tuple[str, float, float]] = []
        self.told = StringIO()
        monkeypatch.setattr(sessions, "run", self._run)
        monkeypatch.setattr(sessions, "latencies", self._latencies)

    def session(self, *contenders: Contender, rounds: int = 2, seconds: float = 1.0, budget: float | None = None) -> Session:
        plan = Plan(bootstrap="nowhere", home=Path("nowhere"), records=50_000, resent=0.0, warm_up=1_000)
        console = Console(file=self.told, width=200)
        return Session(console, plan, contenders, rounds=rounds, seconds=seconds, budget=budget)

    def _run(self, one: Contender, plan: Plan, number: int, *, thorough: bool = False) -> Figures:
        self.runs.append((one.name, number, thorough))
        if len(self.runs) == self.stop_at:
            raise KeyboardInterrupt
        if one.name in self.wrong:
            raise OutputWrong("lacks 1 records")
        return figures(rate=10_000.0 * max(1, number))

    def _latencies(self, one: Contender, plan: Plan, rate: float, *, seconds: float, loads: list[float]) -> list[Latency]:
        self.timed.append((one.name, rate, plan.commit_interval))
        return [latency(load) for load in loads]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_a_contender_whose_output_is_wrong_has_no_speed_and_the_others_have(stage: Stage) -> None:
    stage.wrong = {"Guest"}
    results = stage.session(*EVERYONE).play()
    assert results.failures == ["check, dedupe, Guest: lacks 1 records"]
    assert set(results.figures) == {LOOP, OURS}
    assert set(results.latencies) == {LOOP, OURS}
    assert [run for run in stage.runs if run[0] == "Guest"] == [("Guest", 0, True)]


def test_latency_is_taken_at_the_contenders_own_median_rate_and_once_with_the_targets_interval(stage: Stage) -> None:
    results = stage.session(OURS, rounds=3).play()
    assert stage.timed == [(STREAMAPP, 20_000.0, QUICK), (STREAMAPP, 20_000.0, 0.2)]
    assert [each.load for each in results.quick] == [LOADS[0]]
    assert [each.load for each in results.latencies[OURS]] == list(LOADS)


def test_what_there_is_no_time_for_is_left_out_by_name(stage: Stage) -> None:
    results = stage.session(OURS, rounds=1, budget=UNKNOWN_STEP / 2).play()
    assert stage.runs == []
    assert results.left_out == [
        f"{what}, dedupe, {STREAMAPP} (the time is over)"
        for what in ("check", "run 1/1", "latency, commits every 0.1 s", "latency")
    ]


def test_ctrl_c_keeps_what_was_measured_and_names_the_rest(stage: Stage) -> None:
    stage.stop_at = 3
    results = stage.session(OURS, rounds=2, seconds=0).play()
    assert [number for number, _ in results.figures[OURS]] == [1]
    assert results.left_out == [f"run 2/2, dedupe, {STREAMAPP} (stopped)"]


def test_each_step_is_told_with_its_number_and_the_time_left(stage: Stage) -> None:
    stage.session(OURS, LOOP, rounds=1, seconds=0).play()
    lines = stage.told.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert all(re.search(r"\(\d+\.\d min left\)", line) for line in lines)
    assert "output holds" in lines[0]
    assert "10,000 records/s" in lines[2]
