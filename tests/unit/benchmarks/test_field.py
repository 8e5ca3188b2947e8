"""Who takes part: the jobs that were asked for, this project's contenders, and guests where they can be had."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from rich.console import Console

from tests.benchmarks.contenders import OWN, STREAMAPP, YARDSTICK, chosen_jobs, field_of
from tests.benchmarks.foreign.contender import Installed, Missing
from tests.benchmarks.jobs import DEDUPE, DEDUPE_LARGE, JOBS, MAP, ORDERS

CONSOLE = Console(quiet=True)


@dataclass
class Guest:
    name: str = "Guest"
    promise: str = "exactly once"
    jobs: tuple[str, ...] = ("dedupe", "map")
    records_share: float = 0.05
    missing: str = ""
    asked: int = 0

    def prepare(self, console: Console) -> Installed | Missing:
        self.asked += 1
        return (
            Missing(self.missing)
            if self.missing
            else Installed({job: ("run", job) for job in self.jobs}, {"guest": "1.2", "rocksdict": "0.1"})
        )

    def group(self, app_id: str) -> str:
        return f"theirs-{app_id}"


def test_two_jobs_are_measured_daily_all_when_everything_is_asked_for_and_named_ones_alone() -> None:
    assert chosen_jobs([], everything=False) == [DEDUPE, ORDERS]
    assert chosen_jobs([], everything=True) == list(JOBS.values())
    assert chosen_jobs(["map", "dedupe"], everything=True) == [DEDUPE, MAP]


@pytest.mark.parametrize("job", JOBS.values(), ids=lambda job: job.name)
def test_streamapp_takes_part_in_every_job(job: object) -> None:
    assert any(one.name == STREAMAPP and one.job is job for one in OWN)


def test_contenders_of_a_job_stand_together_and_no_two_have_one_name() -> None:
    everyone = field_of(list(JOBS.values()), [], CONSOLE, foreign=[Guest()]).contenders
    jobs = [one.job.name for one in everyone]
    assert list(dict.fromkeys(jobs)) == list(JOBS)
    assert jobs == sorted(jobs, key=list(JOBS).index)
    assert len({(one.job.name, one.name) for one in everyone}) == len(everyone)
    assert len({(one.job.name, one.slug) for one in everyone}) == len(everyone)


def test_a_guest_takes_part_where_it_can_do_the_task_whatever_the_size_of_the_records() -> None:
    field = field_of([DEDUPE, ORDERS, DEDUPE_LARGE], [], CONSOLE, foreign=[Guest(jobs=("dedupe",), promise="at least once")])
    theirs = [one for one in field.contenders if one.name == "Guest"]
    assert [one.job for one in theirs] == [DEDUPE, DEDUPE_LARGE]
    assert {one.command for one in theirs} == {("run", "dedupe")}
    assert theirs[0].group("app") == "theirs-app"
    assert theirs[0].share(400_000) == 20_000
    assert theirs[0].promise == "at least once"
    assert field.versions == {"Guest": "guest 1.2, rocksdict 0.1"}


def test_a_guest_that_cannot_be_had_is_skipped_with_the_reason() -> None:
    field = field_of([DEDUPE], [], CONSOLE, foreign=[Guest(missing="no JDK is at hand")])
    assert field.skipped == {"Guest": "no JDK is at hand"}
    assert {one.name for one in field.contenders} == {one.name for one in OWN if one.job is DEDUPE}


def test_a_guest_that_has_no_part_in_what_was_asked_for_is_not_installed() -> None:
    idle = Guest()
    field_of([ORDERS], [], CONSOLE, foreign=[idle])
    field_of([DEDUPE], ["hand-written"], CONSOLE, foreign=[idle])
    assert idle.asked == 0


def test_a_part_of_the_name_chooses_contenders() -> None:
    assert {one.name for one in field_of([DEDUPE, ORDERS], ["HAND"], CONSOLE, foreign=[]).contenders} == {YARDSTICK}


def test_a_share_of_records_is_never_so_small_that_nothing_is_measured_nor_more_than_there_are() -> None:
    large = next(one for one in OWN if one.job is DEDUPE_LARGE)
    assert large.share(400_000) == 20_000
    assert large.share(10_000) == 1_000
    assert large.share(400) == 400
