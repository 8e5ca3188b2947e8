"""Faust's forms of agents do through the real broker what they say: iteration, sinks, batches, concurrency, streams that go on.

One worker runs all of them (apps/forms.py), and everything but what a test has to time itself is fed before it starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.kafka_records import Rec, partition_of
from tests.support.own_project import OwnProject, document, documents
from tests.support.topics import committed_offsets, wait_until

SOURCES = {
    **dict.fromkeys(
        ("events", "items", "current", "yields", "take", "overlap", "careless", "both", "paints", "before", "raises", "moves"), 1
    ),
    "both-out": 1,
}
AT = int(time.time()) * 1000 - 3_599_877
"""An hour ago and some. Not years: outputs inherit it, and what is older than a topic's retention goes half a minute after the broker's start."""
PAINTS = [("red", 1), ("blue", 2), ("red", 3), ("green", 4), ("blue", 5)]


@pytest.fixture(scope="module")
def project(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnProject]:
    with OwnProject(bootstrap, tmp_path_factory.mktemp("forms"), "forms", topics=SOURCES) as made:
        for name in ("events", "items", "current"):
            made.feed(name, {"n": 1}, {"n": 2}, key="ann", timestamp=AT, headers=[("h", b"1"), ("h", b"2")])
        made.feed("moves", b'{ "a":1}', "skip", b"[ 2 ]", key="old", headers=[("h", b"1"), ("h", None)])
        made.feed("yields", 1, 2)
        made.feed("take", 1, 2, 3, 4, "bad", 6, 7)
        made.feed("careless", 1)
        made.feed("both", "a", "bad", "c")
        for colour, litres in PAINTS:
            made.feed("paints", {"colour": colour, "litres": litres})
        made.feed("before", 1, 2)
        made.feed("raises", "a", "b", "bad", "c", key="k", timestamp=AT, headers=[("h", b"1")])
        made.worker()
        yield made


def letters(project: OwnProject, name: str, count: int) -> list[tuple[Any, dict[str, str]]]:
    """Return the value and the engine's headers of each dead letter of a topic."""
    return [(document(rec), fields(rec)) for rec in project.wait_for(name, count)]


def fields(rec: Rec) -> dict[str, str]:
    prefix = "streamapp.dlq."
    return {name.removeprefix(prefix): (content or b"").decode() for name, content in rec.headers if name.startswith(prefix)}


# --- iteration


@pytest.mark.parametrize("form", ["events", "current"])
def test_an_event_says_where_its_record_stands(project: OwnProject, form: str) -> None:
    topic = project.topic(form)
    assert documents(project.wait_for(f"{form}-out", 2)) == [
        {
            "key": "ann",
            "value": {"n": n},
            "headers": {"h": "2"},
            "all headers": [["h", "1"], ["h", "2"]],
            "topic": topic,
            "partition": 0,
            "offset": n - 1,
            "timestamp": AT / 1000,
            "tp": [topic, 0],
            "raw": ["ann", f'{{"n": {n}}}'],
            "idempotency_key": f"{topic}-0-{n - 1}",
        }
        for n in (1, 2)
    ]


def test_items_are_pairs_of_key_and_value(project: OwnProject) -> None:
    sent = project.wait_for("items-out", 2)
    assert [(rec.key, document(rec)) for rec in sent] == [(b"ann", ["ann", {"n": 1}]), (b"ann", ["ann", {"n": 2}])]


def test_what_a_record_causes_has_its_timestamp_and_headers(project: OwnProject) -> None:
    assert [(rec.timestamp, rec.headers) for rec in project.wait_for("items-out", 2)] == [(AT, (("h", b"1"), ("h", b"2")))] * 2


def test_a_filtered_record_is_done_and_a_forwarded_one_keeps_its_bytes_and_headers(project: OwnProject) -> None:
    sent = project.wait_for("forwarded", 2)
    assert [(rec.key, rec.value) for rec in sent] == [(b"new", b'{ "a":1}'), (b"new", b"[ 2 ]")]
    assert {rec.headers for rec in sent} == {(("h", b"1"), ("h", None))}
    moves = project.topic("moves")
    wait_until(
        lambda: committed_offsets(project.bootstrap, project.app_id, [moves]) == {(moves, 0): 3}, why=project.workers.tails
    )


# --- sinks


def test_a_yielded_value_goes_to_every_sink(project: OwnProject) -> None:
    sent = project.wait_for_all({"sink-topic": 2, "sink-agent-out": 2, "called": 2})
    assert {name: documents(records) for name, records in sent.items()} == {
        "sink-topic": [10, 20],
        "sink-agent-out": [11, 21],
        "called": [10, 20],
    }


# --- take


def test_take_gives_batches_and_a_failing_one_comes_again_record_by_record(project: OwnProject) -> None:
    # With each batch what its table held then, and the offset of the current event, which is the last one's.
    assert documents(project.wait_for("batches", 4)) == [[[1, 2, 3], 3, 2], [[4], 4, 3], [[6], 5, 5], [[7], 6, 6]]


def test_only_the_bad_record_of_a_batch_is_dead_lettered(project: OwnProject) -> None:
    assert [(value, header["source.offset"]) for value, header in letters(project, "take-dlq", 1)] == [("bad", "4")]


# --- concurrency


def test_records_that_overlap_commit_in_their_order_and_bury_only_the_one_that_failed(project: OwnProject) -> None:
    project.feed("overlap", "slow", "bad", "quick")
    in_hand = [project.folder / f"in-hand-{value}" for value in ("slow", "bad", "quick")]
    wait_until(lambda: all(file.exists() for file in in_hand), why=lambda: f"not in hand\n{project.workers.tails()}")
    # A later record of another topic was committed: what is done behind the slow one had its chance.
    project.feed("items", "later", key="later")
    project.wait_for("items-out", 3)
    assert project.read("overlapped") == project.read("overlap-dlq") == []
    assert (
        committed_offsets(project.bootstrap, project.app_id, [project.topic("overlap")]).get((project.topic("overlap"), 0), 0)
        == 0
    )
    (project.folder / "go-on").touch()
    assert documents(project.wait_for("overlapped", 2)) == ["slow", "quick"]
    assert [value for value, _ in letters(project, "overlap-dlq", 1)] == ["bad"]


def test_a_table_touched_by_overlapping_records_is_an_error_that_says_what_to_do(project: OwnProject) -> None:
    [(value, header)] = letters(project, "careless-dlq", 1)
    assert value == 1
    assert header["exception.type"] == "streamapp.errors.UsageError"
    assert "concurrency=1" in header["exception.message"]


# --- two agents on one topic


def test_two_agents_of_a_topic_each_see_every_record_and_a_failure_of_one_buries_it_for_that_one_alone(
    project: OwnProject,
) -> None:
    sent = [(rec.key, document(rec)) for rec in project.wait_for("both-out", 5)]
    assert [value for key, value in sent if key == b"calm"] == ["a", "bad", "c"]
    assert [value for key, value in sent if key == b"nervous"] == ["a", "c"]
    assert [(value, header["agent"]) for value, header in letters(project, "nervous-dlq", 1)] == [("bad", "nervous")]
    assert project.read("both-dlq") == []


def test_the_retries_of_one_agent_do_not_run_the_other_again(project: OwnProject) -> None:
    project.wait_for("both-out", 5)
    nervous, calm = ((project.folder / f"{agent}-saw").read_text().split() for agent in ("nervous", "calm"))
    # The app's topics join one after the other, and a unit whose offsets are on their way while the generation turns is read again.
    lives = 1 + project.workers["w1"].log_text().count("unit dropped, its records are read again")
    assert 1 <= calm.count("bad") <= lives
    assert 3 <= nervous.count("bad") <= 3 * lives
    assert list(dict.fromkeys(nervous)) == list(dict.fromkeys(calm)) == ["a", "bad", "c"]


# --- on to another topic


def test_group_by_brings_all_records_of_a_key_to_one_partition_and_its_table(project: OwnProject) -> None:
    sent = [(rec.key, document(rec)) for rec in project.wait_for("grouped-out", len(PAINTS))]
    assert {key: [litres for each, litres in sent if each == key] for key, _ in sent} == {
        b"red": [1, 4],
        b"blue": [2, 7],
        b"green": [4],
    }
    moved = project.lanes(f"grouping-{project.topic('paints')}-colour-repartition")
    assert {rec.key: number for number, lane in moved.items() for rec in lane} == {
        key: partition_of(key, 2) for key in (b"red", b"blue", b"green")
    }


def test_through_goes_on_behind_the_topic(project: OwnProject) -> None:
    between = project.topic("between")
    assert documents(project.wait_for("after", 2)) == [[1, between], [2, between]]


# --- a record that raises


def test_the_coroutine_of_an_agent_that_raised_starts_afresh(project: OwnProject) -> None:
    assert documents(project.wait_for("survived", 3)) == [["a", 1], ["b", 2], ["c", 1]]


def test_a_record_that_raises_is_dead_lettered_as_it_was_with_every_header(project: OwnProject) -> None:
    [rec] = project.wait_for("raises-dlq", 1)
    assert (rec.key, rec.value, rec.partition) == (b"k", b'"bad"', 0)
    assert [header for header in rec.headers if not header[0].startswith("streamapp.dlq.")] == [("h", b"1")]
    told, source = fields(rec), project.topic("raises")
    assert int(told.pop("attempts")) >= 2  # a call that a rebalance cut off is one more
    assert {name: told.pop(name) for name in list(told) if name not in TIMES_AND_TRACES} == {
        "id": f"{source}/0/2@falling",
        "app": project.app_id,
        "agent": "falling",
        "source.group": project.app_id,
        "source.topic": source,
        "source.partition": "0",
        "source.offset": "2",
        "source.timestamp": str(AT),
        "source.timestamp-type": "create",
        "position": f"{source}/0/2",
        "stage": "handler",
        "reason": "retries-exhausted",
        "order": "skipped",
        "worker": "w1",
        "version": "unknown",
        "transactional-id": f"{project.app_id}-w1",
        "exception.type": "builtins.ValueError",
        "exception.message": "it raises",
        "exception.cause": "KeyError: 'the cause'",
    }
    assert set(told) == TIMES_AND_TRACES
    assert told["first-failed-at"] <= told["failed-at"]
    assert all(
        len(told[name]) == len("2026-01-01T00:00:00.000Z") and told[name].endswith("Z")
        for name in ("first-failed-at", "failed-at")
    )
    assert told["exception.stacktrace"].splitlines()[1].endswith(" falling"), told["exception.stacktrace"]
    assert len(told["exception.fingerprint"]) == 12


TIMES_AND_TRACES = {"first-failed-at", "failed-at", "exception.stacktrace", "exception.fingerprint"}
