"""What lives had in hand when they ended is told to those that follow on the same disk, and made up by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamapp.records import Partition
from streamapp.state.in_hand import LIVES, InHandFile

ORDERS = Partition("orders", 3)


def test_the_next_life_is_told_what_the_last_ones_had_in_hand(tmp_path: Path) -> None:
    first = InHandFile(tmp_path / "data" / "in-hand")
    first.took("a", ORDERS, 7)
    first.took("b", ORDERS, 7)
    first.put_down("b")
    first.took("b", ORDERS, 8)
    first.put_down("c")
    after = InHandFile(tmp_path / "data" / "in-hand")
    assert [after.had(life, ORDERS, 7) for life in "abcd"] == [True, False, False, None]
    assert (after.had("b", ORDERS, 8), after.had("b", Partition("orders", 4), 8)) == (True, False)


def test_so_many_lives_are_remembered_and_the_oldest_forgotten(tmp_path: Path) -> None:
    file = InHandFile(tmp_path / "in-hand")
    for number in range(LIVES + 1):
        file.took(str(number), ORDERS, number)
    file.put_down("1")  # it is the latest now
    file.put_down("x")
    after = InHandFile(tmp_path / "in-hand")
    assert [after.had(str(number), ORDERS, number) for number in range(4)] == [None, False, None, True]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_file_that_a_full_disk_cut_off_remembers_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in-hand").write_bytes(content)
    assert InHandFile(tmp_path / "in-hand").had("a", ORDERS, 7) is None


def test_what_cannot_be_written_is_not_told_wrongly_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in-hand"
    file = InHandFile(path)
    file.put_down("a")

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "write_text", full)
        file.took("a", ORDERS, 7)
    assert InHandFile(path).had("a", ORDERS, 7) is None
