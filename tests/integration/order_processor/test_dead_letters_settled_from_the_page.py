"""Dead letters of a real worker are discarded from its page: previewed, confirmed, done by the command, and no letter that came later."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.support.ledger import DLQ
from tests.support.order_jobs import OrderJob
from tests.support.topic_reader import read_topics
from tests.support.topics import wait_until
from tests.support.workers import Worker

TOKEN = "s3cret"
FAILING = {
    "ORDER_PROCESSOR_FAIL_SKU": "sku-5",
    "STREAMAPP_RETRY_BASE": "0.01",
    "STREAMAPP_RETRY_CAP": "0.02",
    "STREAMAPP_WEB_TOKEN": TOKEN,
}
FORM = "/streamapp/dead-letters/discard"


def asked(worker: Worker, path: str, form: Mapping[str, str] | None = None) -> str:
    data = None if form is None else urlencode(form).encode()
    request = Request(f"http://127.0.0.1:{worker.web_port}{path}", data, {"Authorization": f"Bearer {TOKEN}"})
    with urlopen(request, timeout=90) as answer:
        told: str = answer.read().decode()
        return told


def hidden(page: str) -> dict[str, str]:
    fields = re.findall(r"<input type=hidden name=([\w-]+) value=(?:\"([^\"]*)\"|(\S+?))>", page)
    return {name: html.unescape(quoted or bare) for name, quoted, bare in fields}


def unresolved(worker: Worker) -> int:
    rows: list[dict[str, Any]] = json.loads(asked(worker, "/streamapp/dead-letters"))["partitions"]
    return sum(row["unresolved"] for row in rows)


def test_a_discard_is_previewed_confirmed_and_done(job: OrderJob) -> None:
    (worker,) = job.start_ready("w1", **FAILING)
    job.feed(100)
    job.caught_up()
    wait_until(lambda: unresolved(worker) > 1, deadline=30, why=lambda: f"{unresolved(worker)} letters")
    before = unresolved(worker)
    headers = next(letter.headers for lane in read_topics(job.bootstrap, [DLQ])[DLQ].values() for letter in lane)
    letter = (dict(headers)["streamapp.dlq.id"] or b"").decode()
    form = {**hidden(asked(worker, FORM)), "ids": letter, "reason": "a test's"}
    preview = asked(worker, FORM, form)
    assert "PREVIEW, nothing is written; --execute writes." in preview
    assert f"discards 1: {letter.partition('@')[0]}" in preview
    assert unresolved(worker) == before
    page = asked(worker, FORM, hidden(preview))
    number = re.search(r"Job (\d+)", page)
    assert number is not None

    def ended() -> bool:
        nonlocal page
        page = asked(worker, f"{FORM.removesuffix('discard')}jobs/{number[1]}")
        return "running" not in page

    wait_until(ended, deadline=60, why=lambda: page)
    assert "done (exit 0)" in page and f"discarded 1: {letter.partition('@')[0]}" in page
    wait_until(lambda: unresolved(worker) == before - 1, deadline=30, why=lambda: f"{unresolved(worker)} of {before}")
