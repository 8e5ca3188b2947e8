"""The console blocks of a page are run as typed, and a page that shows something else than the commands say is found out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.console import Said, Step, Terminal, as_it_stands, body_of, difference, steps
from tests.support.topics import TookTooLong

BLOCK = """\
$ list --since 1h
ID   AGE
…
$ show \\
>   --raw
$ list
(exit 4)
"""


def said(*lines: str, exit_code: int = 0) -> Said:
    return Said(lines, exit_code)


def shows(*lines: str) -> Step:
    return Step("list", lines)


def test_a_block_is_commands_what_they_say_and_how_they_end() -> None:
    first, second, third = steps(BLOCK)
    assert first == Step("list --since 1h", ("ID   AGE", "…"))
    assert second == Step("show \\\n  --raw", ())
    assert third == Step("list", (), 4)
    assert body_of([first, second, third]) == BLOCK


def test_a_block_that_begins_with_output_is_refused() -> None:
    with pytest.raises(ValueError, match="before the first command: ID"):
        steps("ID\n$ list\n")


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        ("a  b", "a b"),
        ("orders/3/18 19h04m open", "orders/3/18 2m03s open"),
        ("oldest 4s", "oldest 0.4s"),
        ("at 2026-11-23T06:01:09.114Z", "at 2027-01-02T16:31:49Z"),
        ("up to 08:20:02Z", "up to 09:00:00Z"),
        ("last failed 08:20:02Z", "last failed 2026-11-23T08:20:02.114Z"),
        ("worker … version …", "worker w-1 version 1.4.0"),
        ("… resolved", "10 resolved"),
        ("(a+b) [c]", "(a+b) [c]"),
    ],
)
def test_what_differs_from_day_to_day_is_compared_by_its_shape(shown: str, line: str) -> None:
    assert difference(shows(shown), said(line)) is None


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        ("orders/3/18 open", "orders/3/19 open"),
        ("oldest 4s", "oldest -"),
        ("at 06:01:09Z", "at noon"),
        ("10 resolved", "9 resolved"),
        ("9c1f04be77a2", "9c1f04be77a3"),
        ("a.c", "abc"),
        ("a b", "ab"),
    ],
)
def test_what_is_the_same_every_day_is_compared_to_the_letter(shown: str, line: str) -> None:
    assert difference(shows(shown), said(line)) is not None


def test_dots_alone_in_a_line_stand_for_any_number_of_lines() -> None:
    for between in ((), ("b",), ("b", "", "c")):
        assert difference(shows("a", "…", "z"), said("a", *between, "z")) is None
    assert difference(shows("a", "…", "z"), said("a", "b")) is not None


def test_a_line_too_few_or_too_many_is_found() -> None:
    assert difference(shows("a"), said("a", "b")) is not None
    assert difference(shows("a", "b"), said("a")) is not None
    assert difference(shows(), said("a")) is not None


def test_the_report_names_the_line_with_which_the_page_goes_wrong() -> None:
    told = difference(shows("a", "…", "c", "d"), said("a", "b", "c", "x"))
    assert told is not None
    assert "goes on with\n  d\n" in told
    assert "  x" in told


def test_an_exit_code_that_the_page_does_not_tell_is_found() -> None:
    assert difference(shows("a"), said("a", exit_code=1)) is not None
    assert difference(Step("list", ("a",), 4), said("a")) is not None
    assert difference(Step("list", ("a",), 4), said("a", exit_code=4)) is None


def test_a_screen_is_read_as_it_stands_in_the_end() -> None:
    assert as_it_stands("\x1b[1mID\x1b[0m  AGE\r\nsent 1\rsent 10\r\n\r\nlast") == ("ID  AGE", "sent 10", "", "last")
    assert as_it_stands("reading 0/27\r\nof two\x1b[1A\r\x1b[2Kdone\r\n\x1b[2K") == ("done",)
    assert as_it_stands("\x1b[?25lreading 27/27\r\x1b[2K\x1b[?25h\x1b]0;title\x07ID\r\n") == ("ID",)
    assert as_it_stands("sent 10\rsent\x1b[K\r\n") == ("sent",)


def test_a_command_runs_on_a_terminal_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    terminal = Terminal(tmp_path, {"PATH": os.environ["PATH"]})
    assert terminal.run("ls; test -t 1 && test -t 2 && echo on a terminal of $(tput cols); exit 3") == Said(
        ("here", "on a terminal of 160"), 3
    )


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(TookTooLong, match="did not end"):
        Terminal(tmp_path, {"PATH": os.environ["PATH"]}, deadline=0.5).run("sleep 600")
