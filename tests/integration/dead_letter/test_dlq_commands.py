"""`streamapp dlq` on a real broker, with the letters that a real worker wrote: each is listed, shown and exported as it was fed."""

from __future__ import annotations

import os
import signal
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.ledger import DLQ, ORDERS
from tests.support.order_jobs import OrderJob
from tests.support.orders import Fed
from tests.support.topic_reader import read_topics
from tests.support.topics import create_topic
from tests.support.verifying import FAUST, STREAMAPP, Verified, command
from tests.support.workers import ROOT

HEADERS = [("hop", b"1"), ("hop", b"2"), ("odd", b"\xff\x00"), ("none", None)]
FAILING = b'{"order_id":"A-1","customer":"ann","sku":"S-9","quantity":2,"unit_price_cents":450}'
FED = [
    Fed(b"ann", FAILING, list(HEADERS), 1_700_000_000_000, 2, "raises"),
    Fed(b"ann", b'{"order_id":"A-2","customer":"ann","sku":"S-1","quantity":0,"unit_price_cents":1}', [], 0, 3, "out of range"),
    Fed(b"\xff", b"\xfe\x00", list(HEADERS), 0, 5, "not JSON"),
    Fed(None, None, [], 0, 6, "no value"),
    Fed(b"bob", b'{"order_id":"B-1","customer":"bob","sku":"S-1","quantity":1,"unit_price_cents":1}', [], 0, 3, "order"),
]

DAY = 86_400
KEPT = {
    "retention.ms": str(30 * DAY * 1000),
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(1_048_588 + 65_536),
}
"""Of the dead-letter topic. The broker of the tests keeps its records for ever, so a topic that the worker makes would be kept so, too."""

Dlq = Callable[..., Verified]


@pytest.fixture(scope="module")
def job(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrderJob]:
    """An order processor that has dead-lettered four of five records, and runs on."""
    with OrderJob(bootstrap, tmp_path_factory.mktemp("dlq") / "workers", ORDER_PROCESSOR_FAIL_SKU="S-9") as job:
        create_topic(bootstrap, DLQ, 8, KEPT)
        job.start("w1")
        job.feed_these(FED)
        job.caught_up()
        yield job


@pytest.fixture
def dlq(job: OrderJob) -> Dlq:
    def run(*words: str, **more: object) -> Verified:
        return command("dlq", *words, bootstrap=job.bootstrap, app_id=job.app_id, **more)  # type: ignore[arg-type]  # door, cwd, variables

    return run


def test_every_letter_is_listed_by_either_door(dlq: Dlq) -> None:
    found = dlq("list", "--json")
    letters = found.rows("letter")
    assert {(row["source"].rpartition("/")[0], row["stage"], row["status"], row["agent"]) for row in letters} == {
        ("orders/2", "handler", "open", "order_processor"),
        ("orders/3", "validate", "open", "order_processor"),
        ("orders/5", "decode", "open", "order_processor"),
        ("orders/6", "decode", "open", "order_processor"),
    }
    (topic,) = found.rows("topic")
    assert (topic["letters"], topic["unresolved"]) == (4, 4)
    assert 29 * DAY < topic["deleted_in"] <= 30 * DAY, "the topic stamps on append: an old record's letter is kept as long"
    other = dlq("list", door=FAUST)
    assert (other.code, len(other.stdout.splitlines())) == (0, 4), other.stderr


def test_a_letter_is_shown_with_its_value_and_the_command_that_sends_it_again(dlq: Dlq) -> None:
    shown = dlq("show", "orders/2/0")
    lines = dict(line.split("\t", 1) for line in shown.stdout.splitlines())
    assert (shown.code, lines["value"]) == (0, f"{FAILING.decode()}   JSON, {len(FAILING)} bytes")
    assert lines["error"] == "RuntimeError: ORDER_PROCESSOR_FAIL_SKU names this order's sku"
    assert lines["stack"].startswith("agents/order_trials.py:")
    assert shown.stdout.splitlines()[-1] == "next\tstreamapp dlq replay orders/2/0 --execute"
    refused = dlq("show", "orders/3/0").stdout
    assert f"JSON, {len(FED[1].value or b'')} bytes; Order.quantity is out of range" in refused
    assert "feff" not in dlq("show", "orders/5/0", "--no-values").stdout


def test_an_export_gives_back_the_bytes_that_were_fed(dlq: Dlq, job: OrderJob) -> None:
    exported = dlq("export").documents
    assert len(exported) == 4
    fed = {(ORDERS, partition): lane for partition, lane in read_topics(job.bootstrap, [ORDERS])[ORDERS].items()}
    for each in exported:
        source = each["source"]
        (rec,) = [rec for rec in fed[source["topic"], source["partition"]] if rec.offset == source["offset"]]
        assert (_bytes(each["key"]), _bytes(each["value"])) == (rec.key, rec.value)
        assert [(name, _bytes(value)) for name, value in each["headers"]] == [tuple(header) for header in rec.headers]


def test_broker_and_app_id_are_enough_to_read(dlq: Dlq, tmp_path: Path) -> None:
    found = dlq("stats", "--json", cwd=tmp_path)
    assert (found.code, sum(row["count"] for row in found.documents)) == (0, 4), found.stderr
    shown = dlq("show", "orders/2/0", cwd=tmp_path).stdout
    assert "the app's models are not loaded: no pyproject.toml" in shown


def test_an_app_that_does_not_load_can_still_be_read(dlq: Dlq, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.streamapp]\napp_id = "orders"\nmodules = ["half_written"]\n')
    (tmp_path / "half_written.py").write_text("raise RuntimeError('half written')")
    shown = dlq("show", "orders/2/0", cwd=tmp_path)
    (value,) = [line for line in shown.stdout.splitlines() if line.startswith("value")]
    assert (shown.code, FAILING.decode() in value, "half_written" in value) == (0, True, True), shown


def test_following_ends_when_it_is_interrupted(job: OrderJob) -> None:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("STREAMAPP_")}
    # A process in the background may have been told to ignore the signal, and its children are, too.
    *python, code = STREAMAPP
    heeds = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
    with subprocess.Popen(
        [*python, heeds, "dlq", "tail", "-f", "--json"],
        cwd=ROOT,
        env={**outside, "STREAMAPP_BROKER": job.bootstrap, "STREAMAPP_APP_ID": job.app_id},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        try:
            assert following.stdout is not None
            assert len([following.stdout.readline() for _ in range(4)]) == 4
            following.send_signal(signal.SIGINT)
            _, said = following.communicate(timeout=60)
        finally:
            following.kill()
    assert (following.returncode, said) == (130, "Interrupted.\n")


def test_the_check_looks_at_settings_and_at_who_runs(dlq: Dlq, job: OrderJob) -> None:
    running = dlq("check", "--json")
    assert (running.code, [(row["id"], row["line"]) for row in running.documents]) == (
        0,
        [("D03", "orders-dlq keeps letters 30 d: its source keeps records for ever")],
    )
    alone = command("dlq", "check", "--json", "--fail-on", "warning", bootstrap=job.bootstrap, app_id=f"{job.app_id}-other")
    assert (alone.code, [row["id"] for row in alone.documents]) == (1, ["D03", "D05"]), alone.stdout
    assert "dead_letter_triage runs on 0 of 8 partitions" in alone.documents[1]["line"]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
