"""A failed attempt is logged with what groups it with its kind, and without the record's value."""

from __future__ import annotations

import logging

import pytest

from streamapp.pipeline.dead_letter import read_dead_letter
from tests.support.pipeline import agent, each, running


async def test_each_attempt_but_the_last_says_which_it_was_and_when_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    async def body(value: bytes) -> None:
        raise ConnectionError(value)

    with caplog.at_level(logging.INFO):
        async with running(agent(each(body))) as bench:
            bench.broker.feed("in", 0, b"secret")
            await bench.caught_up()
            [letter] = [read_dead_letter(record[5]) for unit in bench.broker.transactions for record in unit.records]
    assert letter is not None
    said = [record for record in caplog.records if getattr(record, "event", "") == "record_retried"]
    assert [record.fields for record in said] == [  # type: ignore[attr-defined]  # what log_event adds
        {
            "topic": "in",
            "partition": 0,
            "offset": 0,
            "agent": "agent",
            "attempt": attempt,
            "error_type": "ConnectionError",
            "fingerprint": letter.fingerprint,
            "delay": delay,
        }
        for attempt, delay in ((1, 0.002), (2, 0.004))
    ]
    assert {record.levelno for record in said} == {logging.INFO}
    assert "secret" not in "".join(record.getMessage() for record in said)
