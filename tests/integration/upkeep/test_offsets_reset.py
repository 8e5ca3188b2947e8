"""`streamapp offsets reset` moves what an empty group has committed, says what that repeats and loses, and refuses beside a worker."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.topics import PATIENCE, bare_consumer, committed_offsets, create_topic, wait_until
from tests.support.upkeep_rig import Said, UpkeepApp


@pytest.fixture
def app(upkeep_app: UpkeepApp) -> UpkeepApp:
    """Ten records a minute apart in each of two partitions, of which the group has processed six and none."""
    create_topic(upkeep_app.bootstrap, upkeep_app.sales, 2)
    producer = Producer({"bootstrap.servers": upkeep_app.bootstrap, "linger.ms": 1, "log_level": 0})
    for number in range(20):
        producer.produce(upkeep_app.sales, b"1", partition=number % 2, timestamp=1_700_000_000_000 + number // 2 * 60_000)
    assert producer.flush(PATIENCE) == 0
    member = bare_consumer(upkeep_app.bootstrap, group=upkeep_app.id)
    member.commit(offsets=[TopicPartition(upkeep_app.sales, 0, 6)], asynchronous=False)
    member.close()
    return upkeep_app


def reset(app: UpkeepApp, *words: str, **env: str) -> Said:
    return app.run("offsets", "reset", *words, **env)


def stands(app: UpkeepApp) -> dict[int, int]:
    return {number: offset for (_, number), offset in committed_offsets(app.bootstrap, app.id, [app.sales]).items()}


def test_a_preview_changes_nothing_and_execute_does_what_it_said(app: UpkeepApp) -> None:
    preview = reset(app, "--to-earliest")
    assert preview.code == 0, preview.stderr
    assert preview.rows == [[app.sales, "0", "6", "0", "6", "0", "-"], [app.sales, "1", "-", "0", "0", "0", "-"]]
    assert "PREVIEW" in preview.stderr
    assert "at most 6 records are processed again, at most 0 never" in preview.stderr
    assert "tables do not rewind with it: sums" in preview.stderr
    assert stands(app) == {0: 6}
    assert reset(app, "--to-earliest", "--execute").code == 0
    assert stands(app) == {0: 0, 1: 0}
    assert reset(app, "--to-earliest", "--execute").code == 4, "they are there already"


def test_what_an_operator_sees_on_a_terminal(app: UpkeepApp) -> None:
    assert app.screen("offsets", "reset", "--to-offset", "99").splitlines() == [
        "TOPIC                PARTITION  CURRENT-OFFSET  NEW-OFFSET  REPEATS  LOSES  NOTE",
        f"{app.sales}  0          6               10          0        4      99 is not there: the log ends at 10",
        f"{app.sales}  1          -               10          0        10     99 is not there: the log ends at 10",
        "PREVIEW, nothing is changed; --execute does it.",
        "at most 0 records are processed again, at most 14 never",
        "tables do not rewind with it: sums keep what they hold, so what is processed again counts again",
    ]


@pytest.mark.parametrize(
    ("words", "then"),
    [
        (("--to-latest",), {0: 10, 1: 10}),
        (("--to-offset", "4"), {0: 4, 1: 4}),
        (("--to-offset", "99"), {0: 10, 1: 10}),
        (("--shift-by", "-2", "--partition", "0"), {0: 4}),
        (("--to-datetime", "2023-11-14T22:15:20Z"), {0: 2, 1: 2}),
        (("--by-duration", "PT1H"), {0: 10, 1: 10}),
        (("--by-duration", "P3650D"), {0: 0, 1: 0}),
    ],
)
def test_each_goal_is_reached(app: UpkeepApp, words: tuple[str, ...], then: dict[int, int]) -> None:
    done = reset(app, *words, "--execute", "--json")
    assert done.code == 0, done.stderr
    assert stands(app) == then
    *moves, summary = done.documents
    assert summary["kind"] == "reset" and summary["partitions"] == len(moves) > 0


def test_what_is_exported_brings_the_group_back(app: UpkeepApp) -> None:
    kept = reset(app, "--export")
    assert (kept.code, kept.stdout) == (0, f"{app.sales},0,6\n"), kept.stderr
    assert reset(app, "--to-latest", "--export").stdout == f"{app.sales},0,10\n{app.sales},1,10\n"
    assert stands(app) == {0: 6}
    (app.folder / "kept.csv").write_text(kept.stdout)
    assert reset(app, "--to-latest", "--execute").code == 0
    assert app.faust("offsets", "reset", "--from-file", "kept.csv", "--execute").code == 0
    assert stands(app) == {0: 6, 1: 10}


def test_a_group_that_is_not_empty_is_left_alone(app: UpkeepApp) -> None:
    member = Consumer(
        {"bootstrap.servers": app.bootstrap, "group.id": app.id, "group.instance.id": f"{app.id}-w-1-sales", "log_level": 0}
    )
    try:
        member.subscribe([app.sales])
        wait_until(lambda: member.poll(0.1) is None and bool(member.assignment()), why=lambda: "not assigned", every=0.01)
        refused = reset(app, "--to-earliest", "--execute")
        assert refused.code == 5, refused.stderr
        assert f"group {app.id} is not empty: {app.id}-w-1-sales; stop its workers" in refused.stderr
        assert stands(app)[0] == 6
    finally:
        member.unsubscribe()
        member.close()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "where to?"),
        (("--to-earliest", "--to-latest"), 2, "where to?"),
        (("--to-earliest", "--export", "--execute"), 2, "not both"),
        (("--by-duration", "1h"), 2, "ISO 8601"),
        (("--to-earliest", "--topic", "nothing-there"), 4, "there is no such topic"),
        (("--to-earliest", "--partition", "7"), 4, "no partition 7"),
    ],
)
def test_what_cannot_be_meant_is_said(upkeep_app: UpkeepApp, words: tuple[str, ...], code: int, told: str) -> None:
    create_topic(upkeep_app.bootstrap, upkeep_app.sales, 2)
    said = reset(upkeep_app, *words)
    assert said.code == code and told in said.stderr, said.stderr


def test_without_a_broker_it_ends_with_three(upkeep_app: UpkeepApp) -> None:
    said = reset(upkeep_app, "--to-earliest", "--timeout", "0.3", STREAMAPP_BROKER="127.0.0.1:1")
    assert said.code == 3, said.stderr
