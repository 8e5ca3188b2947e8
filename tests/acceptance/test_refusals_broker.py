"""A broker that does not answer: the worker says so, keeps trying, works once it answers, and gives up at its time; a stop is at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from streamapp.broker import Broker
from streamapp.broker.ports import pick_free
from tests.support.word_app import WordApp, said, wait_for_line

UNTIL_TOLD = "8"
"""Seconds of `start_timeout`: enough for one word of warning before the end, by the order of events and not by a clock."""


def test_it_says_so_goes_on_trying_and_gives_up_with_3(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{pick_free()}"
    with WordApp(nowhere, tmp_path) as app:
        for guarantee in ("exactly_once", "at_least_once"):
            app.start(guarantee, STREAMAPP_PROCESSING_GUARANTEE=guarantee, STREAMAPP_START_TIMEOUT=UNTIL_TOLD)
        for worker in app.workers.all.values():
            wait_for_line(worker, "WARNING", f"{nowhere}: no broker answered", "trying on")
            assert worker.wait() == 3
            (line,) = said(worker.log_text())
            for part in (nowhere, "Connection refused", "gave up after 8 s", "STREAMAPP_BROKER", "STREAMAPP_START_TIMEOUT"):
                assert part in line
            assert "%3|" not in worker.log_text(), "the client library wrote past the log"


def test_a_broker_that_comes_while_it_tries_is_used(new_broker: Callable[..., Broker], tmp_path: Path) -> None:
    port = pick_free()
    with WordApp(f"127.0.0.1:{port}", tmp_path) as app:
        worker = app.start(STREAMAPP_START_TIMEOUT="60")
        wait_for_line(worker, "no broker answered", "trying on")
        new_broker(port=port)
        app.feed(["a", "b", "a"])
        app.wait_until_done()
        assert worker.stop() == 0
        assert said(worker.log_text()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_it_tries_is_clean_and_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with WordApp(f"127.0.0.1:{pick_free()}", tmp_path) as app:
        # Its patience is longer than ours: a stop that waits for it fails this test.
        worker = app.start(STREAMAPP_START_TIMEOUT="600")
        wait_for_line(worker, "EngineService", "Starting")
        worker.send(number)
        assert worker.wait(15) == 0
        assert said(worker.log_text()) == []
