"""The log's events are a closed, documented list, and one call writes one with its facts."""

import ast
import inspect
import logging
from itertools import pairwise

import pytest

from streamapp import events
from streamapp.events import Event, log_event


def test_every_event_is_documented() -> None:
    module = ast.parse(inspect.getsource(events))
    body = next(node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Event")
    documented = {
        node.targets[0].id
        for node, follower in pairwise(body)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(follower, ast.Expr)
        and isinstance(follower.value, ast.Constant)
    }
    assert documented == set(Event.__members__)


@pytest.mark.parametrize("event", Event)
def test_names_are_snake_case_and_one(event: Event) -> None:
    assert event.value == event.name.lower()


def test_an_event_carries_its_facts_and_no_format_is_applied(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("streamapp.test")
    with caplog.at_level(logging.INFO, logger.name):
        log_event(logger, logging.INFO, Event.SLOW_RECORD, "100 % slow", topic="orders", name="x", exc_info=ValueError("why"))
    (record,) = caplog.records
    assert record.getMessage() == "100 % slow"
    assert vars(record)["event"] == "slow_record"
    assert vars(record)["fields"] == {"topic": "orders", "name": "x"}
    assert record.exc_info is not None
    assert record.funcName == "test_an_event_carries_its_facts_and_no_format_is_applied"


def test_a_level_that_is_off_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log_event(logging.getLogger("streamapp.off"), logging.DEBUG, Event.SLOW_RECORD, "x")
    assert not caplog.records
