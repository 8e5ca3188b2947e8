"""Figures are written as people read them: two units of a duration, three digits that matter, `-` for what is not known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamapp.monitor.page import figures
from streamapp.monitor.page.kinds import cell, place, word
from streamapp.monitor.page.markup import text


@pytest.mark.parametrize(
    ("write", "value", "told"),
    [
        (figures.duration, None, "-"),
        (figures.duration, 0, "0s"),
        (figures.duration, 0.4, "0s"),
        (figures.duration, -3, "0s"),
        (figures.duration, 4, "4s"),
        (figures.duration, 59.5, "1m"),
        (figures.duration, 750, "12m30s"),
        (figures.duration, 3600, "1h"),
        (figures.duration, 17_100, "4h45m"),
        (figures.duration, 7_265, "2h01m"),
        (figures.duration, 513_900, "5d22h"),
        (figures.duration, 86_400, "1d"),
        (figures.duration, 90_061, "1d1h"),
        (figures.latency, 0.0021, "2ms"),
        (figures.latency, 2.34, "2.3s"),
        (figures.latency, 30, "30s"),
        (figures.count, 1_204_411, "1,204,411"),
        (figures.rate, 0, "0/s"),
        (figures.rate, 0.04, "0/s"),
        (figures.rate, -0.26, "\u22120.3/s"),
        (figures.rate, 119.6, "120/s"),
        (figures.share, 0.385, "39 %"),
        (figures.size, 812, "812 B"),
        (figures.size, 48_230, "47 KiB"),
        (figures.size, 1_288_490_189, "1.2 GiB"),
        (figures.moment, 1_795_780_800.9, "2026-11-27 12:00:00Z"),
    ],
)
def test_a_figure_is_written_so(write: Callable[[float | None], str], value: float | None, told: str) -> None:
    assert write(value) == told


@pytest.mark.parametrize(
    ("kind", "row", "told"),
    [
        ("growth", {"f": {"estimate": 20.0, "low": 16.1, "high": 23.9}}, "+20/s<small> (16…24)</small>"),
        ("growth", {"f": {"estimate": -40.0, "low": -48.0, "high": -32.0}}, "\u221240/s<small> (\u221248…\u221232)</small>"),
        ("growth", {"f": {"estimate": 0.0, "low": 0.0, "high": 0.0}}, "0/s"),
        ("growth", {"f": {"estimate": float("inf"), "low": 1.0, "high": float("inf")}}, "-/s<small> (1…-)</small>"),
        ("drain", {"f": {"estimate": 2250.0, "low": 1875.0, "high": 2812.5}}, "37m30s<small> (31m15s…46m53s)</small>"),
        ("loss", {"f": None, "loss_never": True, "loss_by": None}, "never"),
        ("loss", {"f": None, "loss_never": False, "loss_by": None}, "-"),
        ("owner", {"f": None, "owner_known": True}, "nobody"),
        ("owner", {"f": None, "owner_known": False}, "-"),
        ("lag", {"f": None, "blocked": None}, "-"),
        ("pairs", {"f": {"b": 2, "a": 1}}, "a 1, b 2"),
        ("ready", {"f": False, "draining": False, "failing": "restoring"}, "not ready: restoring"),
    ],
)
def test_a_cell_shows_what_is_known_and_no_more(kind: str, row: dict[str, object], told: str) -> None:
    assert text(cell(kind, "f", row, 0.0).content) == told


@pytest.mark.parametrize(
    ("told", "taken"),
    [("orders/5/901@agent", "orders/5/901"), ("orders/5/901", "orders/5/901"), ("orders-priced-5-901", "orders-priced/5/901")],
)
def test_a_dead_letters_id_is_shown_as_the_commands_take_it(told: str, taken: str) -> None:
    assert place(told) == taken


@pytest.mark.parametrize(
    "write",
    [figures.duration, figures.latency, figures.count, figures.rate, figures.number, figures.share, figures.size, figures.moment],
)
def test_what_has_no_end_is_not_known(write: Callable[[float | None], str]) -> None:
    assert [write(value) for value in (None, float("inf"), float("nan"))] == ["-", "-", "-"]


def test_a_status_is_a_word() -> None:
    assert [word(each) for each in ("OK", "AT_RISK", "error")] == ["OK", "At risk", "Error"]
