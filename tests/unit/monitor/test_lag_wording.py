"""A trend and its bounds as people read them."""

from __future__ import annotations

from streamapp.monitor.lag import wording
from streamapp.monitor.lag.verdict import Interval


def test_growth_has_its_bounds_unless_nothing_moved() -> None:
    assert wording.growth(None) == "-"
    assert wording.growth(Interval(20, 16.1, 23.9)) == "+20/s (16…24)"
    assert wording.growth(Interval(-40, -48, -32)) == "-40/s (-48…-32)"
    assert wording.growth(Interval(0, -3.25, 3.25)) == "0/s (-3.2…3.2)"
    assert wording.growth(Interval(0, 0, 0)) == "0/s"
