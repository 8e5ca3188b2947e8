"""`streamapp lag` of an app that runs: each partition has its worker, and a wait ends when all is read."""

from __future__ import annotations

import time

from streamapp.kafka.inspector import Inspector
from streamapp.settings import load
from streamapp.verify.group_lag import Asked, Group, read_group
from tests.support.topics import wait_until
from tests.support.verifying import command
from tests.support.word_app import WordApp


def test_partitions_have_their_worker_and_a_wait_ends_when_all_is_read(word_app: WordApp) -> None:
    word_app.feed(["one", "two", "three"])
    word_app.start("w1")
    place = {"bootstrap": word_app.bootstrap, "app_id": word_app.app_id, "cwd": word_app.home}
    waited = command("lag", "-A", "words", "--json", "--wait", "60s", **place)  # type: ignore[arg-type]  # as `command` has them
    assert waited.code == 0, waited.stderr
    assert {row["lag"] for row in waited.rows("partition")} == {0}
    assert word_app.wrong() == []

    inspector = Inspector(load({"app_id": word_app.app_id, "broker": word_app.bootstrap}, {}, {}), 20.0, name="lag")
    group = Group(word_app.app_id, [word_app.words], [word_app.words], earliest=True)
    seen: list[Asked] = []

    def owned() -> bool:
        seen[:] = read_group(inspector, group, time.time()).partitions.values()
        return {each.worker for each in seen} == {"w1"}

    try:
        wait_until(owned, why=lambda: f"{seen}")
    finally:
        inspector.close()
    assert {each.member and each.member.client_id for each in seen} == {f"{word_app.app_id}-w1-{word_app.words}"}
