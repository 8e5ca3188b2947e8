"""Each target is held, not held, or unknown where what it needs was not measured."""

from __future__ import annotations

import pytest

from tests.benchmarks.contenders import STREAMAPP, YARDSTICK
from tests.benchmarks.session import Results
from tests.benchmarks.targets import Target, targets
from tests.support.bench_results import contender, figures, latency, rates, runs


def verdict_of(results: Results, part: str) -> Target:
    (found,) = [each for each in targets(results) if part in each.what]
    return found


def test_where_nothing_was_measured_all_is_unknown() -> None:
    rows = targets(Results())
    assert len(rows) == 8
    assert {(each.measured, each.verdict) for each in rows} == {("unknown", "unknown")}


@pytest.mark.parametrize(
    ("name", "least"),
    [(YARDSTICK, 0.85), ("Kafka Streams", 3.0), ("Quix Streams", 7.0), ("faust-streaming, at least once", 70.0)],
)
def test_a_ratio_is_held_from_its_bound_on_by_the_median_of_the_rounds(name: str, least: float) -> None:
    ours, theirs = contender("dedupe", STREAMAPP), contender("dedupe", name)
    results = Results({ours: runs(*(1_000 * least * share for share in (0.5, 1.01, 1.2))), theirs: runs(1_000, 1_000, 1_000)})
    assert verdict_of(results, f"by {name}").verdict == "held"
    assert verdict_of(results, f"by {name}").measured == f"{least * 1.01:.2f} ({least * 0.5:.2f} to {least * 1.2:.2f})"
    results.figures[ours] = runs(*(1_000 * least * share for share in (0.5, 0.99, 1.2)))
    assert verdict_of(results, f"by {name}").verdict == "not held"


def test_the_order_processor_is_held_against_the_dedupe_yardstick_by_records_of_both_stages() -> None:
    ours, loop = contender("orders", STREAMAPP), contender("dedupe", YARDSTICK)
    results = Results({ours: [(1, figures(10_000, stages=56_000))], loop: runs(100_000)})
    assert verdict_of(results, "stage-records") == Target(
        f"orders, stage-records per CPU s, by dedupe's {YARDSTICK}", "≥ 0.55", "0.56 (0.56 to 0.56)", "held"
    )


@pytest.mark.parametrize(("p50", "p99", "verdicts"), [(0.1, 0.15, ["held", "held"]), (0.101, 0.151, ["not held", "not held"])])
def test_latency_is_held_up_to_its_bounds(p50: float, p99: float, verdicts: list[str]) -> None:
    rows = targets(Results(quick=[latency(p50=p50, p99=p99)]))
    assert [each.verdict for each in rows if "end to end" in each.what] == verdicts


@pytest.mark.parametrize(
    ("removed", "awaited", "verdict"),
    [
        (60_000, 18_000, "held"),  # 20,000 calls a second are the bound
        (60_000, 17_900, "not held"),
        (12_000, 10_900, "held"),  # what the engine does without the calls is
        (12_000, 10_700, "not held"),
    ],
)
def test_concurrent_awaits_are_held_against_the_lower_of_what_calls_and_engine_can_do(
    removed: float, awaited: float, verdict: str
) -> None:
    both = {contender("await", STREAMAPP): rates(awaited), contender("await-removed", STREAMAPP): rates(removed)}
    assert verdict_of(Results(both), "awaits").verdict == verdict
