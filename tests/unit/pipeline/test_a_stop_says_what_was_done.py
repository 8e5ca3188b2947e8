"""The log says at a stop what the worker did, and at an abort how many records are read again."""

from __future__ import annotations

import logging

import pytest

from streamapp.errors import CommitRefused
from tests.support.fakes import FakeBroker
from tests.support.pipeline import agent, copy, each, running, table


async def test_a_stop_tells_records_commits_aborts_and_what_was_read_again(caplog: pytest.LogCaptureFixture) -> None:
    broker = FakeBroker()
    broker.feed("in", 0, b"one", b"two", b"three")
    broker.fail("send_offsets", CommitRefused("not now"))
    with caplog.at_level(logging.INFO):
        async with running(agent(each(copy)), tables=[table()], broker=broker, commit_interval=0.2, isolate_after=0) as bench:
            await bench.caught_up()
    dropped = next(record for record in caplog.records if record.__dict__.get("event") == "transaction_aborted")
    assert dropped.__dict__["fields"]["records"] == 3
    assert "read again (3)" in dropped.getMessage()
    stopped = [record for record in caplog.records if record.__dict__.get("event") == "worker_stopped"]
    assert len(stopped) == 1
    assert "3 records in 1 commits, 1 aborts (3 records read again)" in stopped[0].getMessage()
    counted = stopped[0].__dict__["fields"]["counters"]
    assert (counted["records"], counted["replayed"], counted["aborts"], counted["commits"]) == (3, 3, 1, 1)
