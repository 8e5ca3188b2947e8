"""What is tuned are settings that there are, with values that they take, each beside its true default."""

from __future__ import annotations

import pytest

from streamapp.settings import load
from tests.benchmarks.growth_tuning import KNOBS, Knob


@pytest.mark.parametrize("knob", KNOBS.values(), ids=KNOBS.keys())
def test_a_knob_is_a_setting_and_tries_its_default_among_values_that_it_takes(knob: Knob) -> None:
    def taken(value: str) -> set[object]:
        settings = load({"app_id": "shop"}, {}, {knob.variable: value})
        return {repr(room) for room in (settings.transaction, settings.producer, settings.stream)}

    unset = load({"app_id": "shop"}, {}, {})
    assert {repr(room) for room in (unset.transaction, unset.producer, unset.stream)} == taken(knob.default)
    assert len({frozenset(taken(value)) for value in knob.values}) == len(knob.values)
    assert knob.default in knob.values
