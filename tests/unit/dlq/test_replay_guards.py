"""Guards refuse what would go round in circles, run twice, or be seen by others; each says what would let it pass."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from streamapp.dlq.guards import (
    GuardRefused,
    OtherGroup,
    Owner,
    older_than,
    require_free,
    require_named_target,
    sort_out,
    uncovered,
)
from streamapp.pipeline.resolution import Lock, Status
from tests.support.replay_jobs import AGENT, NOW, SOURCE, letter

MOMENT = datetime(2026, 11, 27, 8, 20, 2, tzinfo=UTC)
US = Owner("ops", "here", 7)


def lock(owner: object, age: float) -> Lock:
    return Lock(job="7f3a", owner=str(owner), beat=MOMENT - timedelta(seconds=age))


def test_a_letter_replayed_three_times_is_parked() -> None:
    found = sort_out([letter(1, replays=2), letter(2, replays=3)], force=False, reprocess=False)
    assert [each.facts.source.offset for each in found.free] == [1]
    assert [each.facts.source.offset for each in found.parked] == [2]


def test_what_is_under_way_or_settled_is_not_sent() -> None:
    letters = [letter(1, status=Status.REPLAYING), letter(2, status=Status.RESOLVED), letter(3, status=Status.DISCARDED)]
    found = sort_out(letters, force=False, reprocess=False)
    assert (len(found.free), len(found.under_way), len(found.settled)) == (0, 1, 2)


def test_force_sends_all_and_reprocessing_sends_what_is_settled() -> None:
    letters = [letter(1, status=Status.REPLAYING), letter(2, status=Status.RESOLVED), letter(3, replays=3)]
    assert len(sort_out(letters, force=True, reprocess=False).free) == 3
    assert [each.facts.source.offset for each in sort_out(letters, force=False, reprocess=True).free] == [2]


def test_another_jobs_lock_refuses_until_six_beats_were_missed() -> None:
    with pytest.raises(GuardRefused, match=r"orders-dlq is being replayed by ops@there/9, job 7f3a, last heard of 59 s ago"):
        require_free("orders-dlq", lock("ops@there/9", 59), owner=US, now=MOMENT)
    require_free("orders-dlq", lock("ops@there/9", 60), owner=US, now=MOMENT)
    require_free("orders-dlq", lock(US, 1), owner=US, now=MOMENT)
    require_free("orders-dlq", None, owner=US, now=MOMENT)


def test_the_lock_of_a_process_of_this_machine_ends_with_it() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    require_free("orders-dlq", lock(Owner("ops", socket.gethostname(), ended.pid), 1), owner=US, now=MOMENT)
    with pytest.raises(GuardRefused):
        require_free("orders-dlq", lock(Owner("ops", socket.gethostname(), os.getpid()), 1), owner=US, now=MOMENT)


def test_other_groups_on_the_target_need_a_target_named_by_hand() -> None:
    others = [OtherGroup("orders", "billing", 3)]
    with pytest.raises(GuardRefused, match=r"orders: billing \(lag 3\)"):
        require_named_target(others, is_named=False)
    require_named_target(others, is_named=True)
    require_named_target([], is_named=False)


def test_letters_older_than_the_topics_retention_or_the_dedupe_table_are_counted() -> None:
    letters = [letter(1), letter(2, timestamp=round((NOW - 7200) * 1000))]
    assert older_than(letters, {SOURCE: 3600.0}, NOW) == 1
    assert older_than(letters, {SOURCE: None}, NOW) == 0
    assert uncovered(letters, {AGENT: 3600.0}, NOW) == 1
    assert uncovered(letters, {}, NOW) == 0
