"""What a worker notes for the doctor: rebalances of the last hour, how full its batches are, how fast it restores."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest

from streamapp.identity import DataDir
from streamapp.monitor.status import DoctorFacts, RebalanceNote
from streamapp.settings import IdentitySettings
from streamapp.worker.doctor_notes import DoctorNotes
from streamapp.worker.restarts import FILE, read_restarts
from tests.support.topics import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(notes: DoctorNotes) -> DoctorFacts:
    return notes.facts(None, batch_size=1_000_000)


def test_a_rebalance_lasts_from_the_first_that_comes_until_all_are_restored(clock: Clock) -> None:
    notes = DoctorNotes(clock)
    notes.comes(2)
    clock.now += 1
    notes.comes(1)
    clock.now += 2
    notes.settled()
    notes.settled()
    notes.goes(1)
    clock.now += 5
    notes.comes(0)
    notes.settled()
    assert told(notes).rebalances == (
        RebalanceNote(at=1_000.0, seconds=3.0, gained=3, lost=0),
        RebalanceNote(at=1_008.0, seconds=0.0, gained=0, lost=1),
    )
    clock.now += 3_600
    assert len(told(notes).rebalances) == 1
    clock.now += 10
    assert told(notes).rebalances == ()


def test_batches_are_a_mean_over_topics_and_what_is_no_statistics_is_passed_over(clock: Clock) -> None:
    notes = DoctorNotes(clock)
    assert told(notes).batch_fill is None
    for text in ("", "[]", "{}", '{"topics": {"a": {}}}', '{"topics": {"a": {"batchsize": {"avg": 0, "cnt": 0}}}}'):
        notes.statistics(text)
    assert told(notes).batch_fill is None
    notes.statistics(
        json.dumps({"topics": {"a": {"batchsize": {"avg": 100_000, "cnt": 3}}, "b": {"batchsize": {"avg": 20_000, "cnt": 1}}}})
    )
    assert told(notes).batch_fill == pytest.approx(0.08)


def test_the_rate_of_restores_leaves_out_those_that_were_only_a_tail(clock: Clock) -> None:
    notes = DoctorNotes(clock)
    notes.restored(10, 0.5)
    assert told(notes).restore_rate is None
    notes.restored(300_000, 2.0)
    notes.restored(100_000, 2.0)
    assert told(notes).restore_rate == 100_000.0


def written(directory: Path, away: float) -> bool:
    return (directory / FILE).exists() and (away == 0.0 or read_restarts(directory) == (away,))


async def test_a_life_is_written_down_while_it_lasts_and_the_next_one_knows_how_long_it_was_away(
    tmp_path: Path, clock: Clock
) -> None:
    for away in (0.0, 12.0):
        clock.now += away
        with DataDir.open(IdentitySettings(app_id="shop", worker_id=None, data_dir=tmp_path)) as directory:
            notes = DoctorNotes(clock)
            notes.opened(directory)
            assert told(notes).new_worker_id is (away == 0.0)
            living = asyncio.create_task(notes.live(lambda: True))
            await asyncio.to_thread(wait_until, partial(written, tmp_path, away), why=lambda: f"no sign of life in {tmp_path}")
            clock.now += 60
            notes.stops()
            living.cancel()
    assert told(notes).restarts == read_restarts(tmp_path) == (12.0,)
