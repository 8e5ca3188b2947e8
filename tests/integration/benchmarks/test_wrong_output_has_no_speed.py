"""A contender that loses, doubles or changes one record in a thousand is refused before its speed is taken; a right one is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks.contenders import FLOOR, Contender
from tests.benchmarks.jobs import DEDUPE
from tests.benchmarks.measure import Plan
from tests.benchmarks.session import Results, Session

RECORDS = 1_000


def measured(bootstrap: str, home: Path, *command: str) -> tuple[Contender, Results]:
    contender = Contender(FLOOR, (sys.executable, "-m", *command), DEDUPE, dedupes=False)
    plan = Plan(bootstrap=bootstrap, home=home, records=RECORDS, resent=0.03, warm_up=100, commit_interval=0.05)
    return contender, Session(Console(quiet=True), plan, [contender], rounds=1, seconds=0, budget=None).play()


@pytest.mark.parametrize(
    ("fault", "told"),
    [("drops", "lacks 1 records"), ("doubles", "1 too many"), ("changes", "1 records with other fields")],
)
def test_a_contender_that_spoils_one_record_is_not_measured(bootstrap: str, tmp_path: Path, fault: str, told: str) -> None:
    contender, results = measured(bootstrap, tmp_path, "tests.support.tampered_copy", fault, str(RECORDS // 2))
    (failure,) = results.failures
    assert told in failure
    assert contender not in results.figures


def test_a_right_contender_is_measured(bootstrap: str, tmp_path: Path) -> None:
    contender, results = measured(bootstrap, tmp_path, "tests.benchmarks.copy_loop")
    assert results.failures == []
    ((number, figures),) = results.figures[contender]
    assert (number, figures.records) == (1, RECORDS)
    assert figures.records_per_second > 0
    assert figures.records_per_cpu_second > 0
    assert figures.peak_rss_bytes > 2**20
    assert figures.seconds_to_first_commit > 0
