"""What was found is printed, saved and drawn; what is not known stands there as unknown."""

from __future__ import annotations

import json
import re
from io import StringIO
from math import inf
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.benchmarks.contenders import STREAMAPP, YARDSTICK, Field
from tests.benchmarks.measure import Plan
from tests.benchmarks.report import settings_of, show
from tests.benchmarks.saving import save
from tests.benchmarks.session import Results
from tests.support.bench_results import contender, latency, runs

OURS, LOOP, ALONE = contender("dedupe", STREAMAPP), contender("dedupe", YARDSTICK), contender("await", STREAMAPP)
FIELD = Field((OURS, LOOP, ALONE), {"Guest": "no JDK is at hand"}, {"Guest": "guest 1.2, rocksdict 0.1"})
RESULTS = Results(
    figures={OURS: runs(45_000, 50_000), LOOP: runs(50_000, 50_000), ALONE: runs(20_000)},
    latencies={OURS: [latency(0.1), latency(0.5, p99=inf, keeps_up=False)], LOOP: [latency(0.9, generator_late=0.3)]},
    failures=["run 1/2, dedupe, Guest: lacks 1 records"],
    left_out=["latency, dedupe, hand-written loop (the time is over)"],
)


@pytest.fixture
def shown() -> list[str]:
    told = StringIO()
    show(Console(file=told, width=150), FIELD, RESULTS)
    return told.getvalue().splitlines()


def row(lines: list[str], first: str, nth: int = 0) -> list[str]:
    """Return the cells of the n-th row whose first cell is `first`."""
    rows = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in lines if line.startswith("│")]
    return [cells for cells in rows if cells[0] == first][nth]


def test_a_job_shows_each_contender_beside_the_yardstick(shown: list[str]) -> None:
    assert row(shown, STREAMAPP)[1:] == ["40,000 ±0%", "47,500 ±5%", "0.95", "80", "3.0 s", "60 ms", "unknown"]
    assert row(shown, YARDSTICK)[1:] == ["40,000 ±0%", "50,000 ±0%", "1.00", "80", "3.0 s", "60 ms", "unknown"]


def test_latencies_show_what_never_came_and_what_was_not_measured(shown: list[str]) -> None:
    assert row(shown, STREAMAPP, 1)[1:] == ["40,000/s", "50 / 140 / 140", "50 / never / never *", "unknown"]


def test_a_latency_that_is_the_generators_own_is_marked(shown: list[str]) -> None:
    assert row(shown, YARDSTICK, 1)[1:] == ["40,000/s", "unknown", "unknown", "50 / 140 / 140 †"]


def test_a_job_without_a_yardstick_has_no_ratio(shown: list[str]) -> None:
    assert row(shown, STREAMAPP, 2)[3] == "unknown"


def test_what_was_skipped_left_out_or_wrong_is_named(shown: list[str]) -> None:
    assert "skipped: Guest, no JDK is at hand" in shown
    assert "left out: latency, dedupe, hand-written loop (the time is over)" in shown
    assert "run 1/2, dedupe, Guest: lacks 1 records" in shown


def test_settings_tell_every_size_and_version(tmp_path: Path) -> None:
    plan = Plan(bootstrap="nowhere", home=tmp_path, records=400_000, resent=0.03, warm_up=40_000)
    settings = settings_of(plan, FIELD, rounds=3, seconds=4.0)
    assert settings["records"] == "400,000"
    assert settings["Guest"] == "(guest 1.2, rocksdict 0.1)"
    assert settings["rocksdict"] != "0.1"
    assert {"cores", "Python", "librdkafka", "confluent-kafka", "rocksdict", "commit interval", "runs"} <= set(settings)
    assert re.fullmatch(r"[\d,]+/s", settings["100 awaits of 5 ms at a time by the event loop alone"])


def test_every_run_is_saved_as_json_with_null_for_what_never_came(tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(save(tmp_path / "deep", "now", {"records": "1"}, FIELD, RESULTS)[0].read_text())
    assert found["settings"] == {"records": "1"}
    assert found["skipped"] == {"Guest": "no JDK is at hand"}
    assert (found["failures"], found["left_out"]) == (RESULTS.failures, RESULTS.left_out)
    ours = found["results"][0]
    assert (ours["job"], ours["contender"], ours["promise"]) == ("dedupe", STREAMAPP, "exactly once")
    assert [(run["round"], run["records_per_cpu_second"]) for run in ours["runs"]] == [(1, 45_000), (2, 50_000)]
    assert ours["cpu_ratio_to_hand_written"] == 0.95
    assert [(each["load"], each["p99"], each["commit_p99"]) for each in ours["latency"]] == [(0.1, 0.14, None), (0.5, None, None)]
    assert found["results"][2]["cpu_ratio_to_hand_written"] is None
    assert len(found["targets"]) == 8


def test_a_picture_is_drawn_beside_it_where_anything_was_measured(tmp_path: Path) -> None:
    assert [path.name for path in save(tmp_path, "some", {}, FIELD, RESULTS)] == ["some.json", "some.png"]
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in save(tmp_path, "none", {}, FIELD, Results())] == ["none.json"]
