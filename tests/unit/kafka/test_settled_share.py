"""What a member had when everything was shared out is known to whoever comes after it, for as long as a session lasts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from streamapp.kafka.settled_share import SettledShare
from streamapp.records import Partition

A, B, C = (Partition("in", number) for number in range(3))
SESSION = 45.0


def member(home: Path, *topics: str) -> SettledShare:
    return SettledShare(home / "worker" / "share", topics or ("in",), SESSION)


def test_a_share_without_what_was_settled_before_is_short(tmp_path: Path) -> None:
    member(tmp_path).assigned([A, B])
    after = member(tmp_path)
    assert [after.is_short(share) for share in ([], [A], [A, B], [A, B, C])] == [True, True, False, False]
    assert not member(tmp_path, "other").is_short([]), "it reads another topic now"


def test_nothing_is_short_where_nobody_was_before(tmp_path: Path) -> None:
    assert not member(tmp_path).is_short([])


@pytest.mark.parametrize("shares_after", [0, 1, 2])
def test_a_rebalance_is_settled_with_the_second_share_after_giving_back(tmp_path: Path, shares_after: int) -> None:
    one = member(tmp_path)
    one.assigned([A, B])
    one.gave_back()
    for _ in range(shares_after):
        one.assigned([A])
    assert member(tmp_path).is_short([A]) is (shares_after < 2), "after its death"
    assert one.is_short([A]) is (shares_after < 2), "to its next consumer"


def test_giving_back_again_in_between_takes_two_shares_again(tmp_path: Path) -> None:
    one = member(tmp_path)
    one.assigned([A, B, C])
    one.gave_back()
    one.assigned([A, B])
    one.gave_back()
    one.assigned([A])
    assert one.is_short([A, B])
    one.assigned([A])
    assert not one.is_short([A])


def test_what_a_group_shared_out_without_it_is_forgotten(tmp_path: Path) -> None:
    one = member(tmp_path)
    one.assigned([A, B])
    one.forget()
    one.forget()
    assert not one.is_short([])
    assert not member(tmp_path).is_short([])


def test_a_member_whose_session_is_over_had_nothing(tmp_path: Path) -> None:
    member(tmp_path).assigned([A])
    ended = time.time() - SESSION - 1
    os.utime(tmp_path / "worker" / "share", (ended, ended))
    assert not member(tmp_path).is_short([])


def test_a_member_that_lives_gives_signs_of_life_and_one_that_was_given_nothing_yet_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "worker" / "share"
    one = member(tmp_path)
    one.assigned([A])
    long_ago = time.time() - 40.0
    os.utime(path, (long_ago, long_ago))
    monkeypatch.setattr("streamapp.kafka.settled_share.SIGN_OF_LIFE", 0.0)
    member(tmp_path).alive()
    assert path.stat().st_mtime == pytest.approx(long_ago, abs=0.01)
    one.alive()
    assert path.stat().st_mtime > long_ago + 30


@pytest.mark.parametrize("content", ["", "{", "[1]", '["in"]', "null"])
def test_a_file_that_was_cut_off_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "share").write_text(content)
    assert not member(tmp_path).is_short([])


def test_a_disk_that_refuses_costs_the_memory_of_a_death_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "worker").touch()
    one = member(tmp_path)
    one.assigned([A, B])
    assert one.is_short([A])
    one.forget()
    assert not one.is_short([A])
