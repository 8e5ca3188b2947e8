"""EVIDENCE.md says what the runs found: totals, shares, percentiles, violations by class; what was not counted is unknown, never 0."""

from __future__ import annotations

import pytest

from tests.support.evidence import MUST_BE_RED, Scenario, machine, percentile, render

ABOUT = [("memory", "8 GiB")]


def row(text: str, begin: str, at: int = 0) -> list[str]:
    """Return the cells of one table row."""
    found = [line for line in text.splitlines() if line.startswith(f"| {begin} |")]
    return [cell.strip() for cell in found[at].strip("|").split("|")]


def test_figures_stand_where_they_belong() -> None:
    storm = Scenario(
        name="storm", command="make faults", seed=7, records=12_000, kills=3, faults=4, inside_a_transaction=1,
        recoveries=[1.0, 3.0, 2.0, 4.0], aborts=5, rebuilds=0, replayed=600, figures={"lag back to 0 after (s)": 2.5},
    )  # fmt: skip
    text = render([storm], ABOUT)
    assert row(text, "storm") == ["storm", "12,000", "4", "3", "1 (25%)", "no violation"]
    assert row(text, "storm", 1) == ["storm", "2.00 s", "4.00 s", "4.00 s", "4", "5", "0", "600"]
    assert "- seed: 7" in text
    assert "`make faults`" in text
    assert "- lag back to 0 after (s): 2.5" in text
    assert row(text, "memory") == ["memory", "8 GiB"]


def test_what_was_not_counted_is_unknown() -> None:
    text = render([Scenario(name="cut", command="make faults", faults=2)], ABOUT)
    assert row(text, "cut")[4] == "unknown"
    assert row(text, "cut", 1) == ["cut", "unknown", "unknown", "unknown", "0", "unknown", "unknown", "unknown"]
    assert "- seed: unknown" in text


def test_totals_add_up_and_violations_are_named_by_class() -> None:
    ran = [
        Scenario(name="one", command="a", records=600_000, kills=100, faults=150, violations={"LOST": 2}),
        Scenario(name="two", command="b", records=400_000, kills=200, faults=200, violations={"LOST": 1, "DOUBLED": 4}),
    ]
    text = render(ran, ABOUT)
    assert "1,000,000 records, 350 faults, 300 of them kills, in 2 scenarios: DOUBLED 4, LOST 3" in text
    assert row(text, "two")[5] == "DOUBLED 4, LOST 1"


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.95, 95.0), (1.0, 100.0), (0.0, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_a_percentile_of_nothing_is_unknown() -> None:
    assert percentile([], 0.5) is None


def test_the_machine_is_told_without_its_name() -> None:
    told = dict(machine())
    assert {"processor", "memory", "Python", "librdkafka", "Apache Kafka"} <= set(told)
    assert not any("/" in what or "127." in what for what in told.values())


def test_a_control_is_told_apart_and_not_added_up() -> None:
    ran = [
        Scenario(name="one", command="a", records=10, faults=1),
        Scenario(name="rule off", command="b", records=5, faults=2, violations={"DOUBLED": 4}, figures={MUST_BE_RED: "true"}),
    ]
    text = render(ran, ABOUT, "| rule |")
    assert "10 records, 1 faults, 0 of them kills, in 1 scenarios: no violation" in text
    assert row(text, "rule off") == ["rule off", "5", "2", "DOUBLED 4"]
    assert "| rule |" in text
