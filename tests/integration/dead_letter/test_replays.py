"""`dlq replay` on a real broker: previewed first, sent as ordinary records, resolved by the worker, and each exit code for its reason."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streamapp.pipeline.resolution import Resolution, Status, Take, TakeState
from tests.support.kafka_records import Rec
from tests.support.replay_rig import REPLAY_OF, PlayedWorker, ReplayRig, documents, once
from tests.support.topic_reader import read_topics
from tests.support.topics import PATIENCE, delete_topics, partitions_of
from tests.support.workers import FAUST


def place(letter_id: str) -> str:
    return letter_id.partition("@")[0]


def test_nothing_is_sent_before_execute_and_then_each_is_sent_and_resolved(replay_rig: ReplayRig) -> None:
    ids = replay_rig.bury(6)
    preview = replay_rig.dlq_command("replay", "--all")
    assert preview.exit_code == 0, preview.output
    assert preview.output.startswith(
        "PREVIEW, nothing is sent; --execute sends.\nscope       6 of 6 unresolved, up to the end of"
    )
    assert replay_rig.copies() == [] and replay_rig.rows() == {}
    with PlayedWorker(replay_rig):
        result = replay_rig.dlq_command("replay", "--all", "--execute")
    assert result.exit_code == 0, result.output
    assert "6 sent, 6 resolved, 0 failed again" in result.output
    assert replay_rig.copied() == once(ids)
    for copy in replay_rig.copies():
        told = dict(copy.headers)
        source = (told[REPLAY_OF] or b"").decode().partition("@")[0].split("/")
        original = next(
            each for each in rig_source(replay_rig) if (each.partition, each.offset) == (int(source[1]), int(source[2]))
        )
        assert (copy.partition, copy.key, copy.value, copy.timestamp) == (
            original.partition,
            original.key,
            original.value,
            original.timestamp,
        )
        assert told["trace"] == dict(original.headers)["trace"] and told["streamapp.dlq.replay-count"] == b"1"
    assert replay_rig.statuses() == {"resolved": 6}
    again = replay_rig.dlq_command("replay", "--all", "--execute")
    assert again.exit_code == 4, again.output


@pytest.mark.parametrize(
    "words", [("replay", "--all"), ("discard", "--all", "--reason", "nobody needs it"), ("take", "{source}/0/0")]
)
def test_without_the_right_to_declare_the_status_topic_is_not_made(replay_rig: ReplayRig, words: tuple[str, ...]) -> None:
    replay_rig.bury(1)
    delete_topics(replay_rig.bootstrap, [replay_rig.status])
    asked = [word.format(source=replay_rig.source) for word in words]
    refused = replay_rig.dlq_command(*asked, "--execute", STREAMAPP_TOPIC_ALLOW_DECLARE="false")
    assert refused.exit_code == 2, refused.output
    assert f"topic {replay_rig.status} does not exist and STREAMAPP_TOPIC_ALLOW_DECLARE is false" in refused.output
    assert f"kafka-topics.sh --create --topic {replay_rig.status} --partitions 1 --config" in refused.output
    assert partitions_of(replay_rig.bootstrap, [replay_rig.status]) == {replay_rig.status: 0}
    assert replay_rig.copies() == []


def test_faust_is_the_other_door(replay_rig: ReplayRig) -> None:
    replay_rig.bury(1)
    result = subprocess.run(
        [str(FAUST), "-A", replay_rig.module, "dlq", "replay", "--all"],
        cwd=replay_rig.home, env={**os.environ, **replay_rig.env}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout.partition("\n")[0]) == (0, "PREVIEW, nothing is sent; --execute sends."), (
        result.stderr
    )


def rig_source(replay_rig: ReplayRig) -> list[Rec]:
    return [
        record for lane in read_topics(replay_rig.bootstrap, [replay_rig.source])[replay_rig.source].values() for record in lane
    ]


def test_failures_and_silence_are_exit_1(replay_rig: ReplayRig) -> None:
    ids = replay_rig.bury(8)
    with PlayedWorker(replay_rig, lambda _: Status.REOPENED):
        stopped = replay_rig.dlq_command("replay", "--all", "--execute", "--stop-after-failures", "2", "--rate", "1/s")
    assert stopped.exit_code == 1, stopped.output
    assert "stopped, as 2 failed again" in stopped.output and len(replay_rig.copies()) < 8
    left = [each for each in ids if each not in replay_rig.copied()]
    silent = replay_rig.dlq_command("replay", place(left[0]), "--execute", "--quiet-after", "1")
    assert silent.exit_code == 1, silent.output
    assert f"no worker owns {replay_rig.source}/{left[0].split('/')[1]}" in silent.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("replay", "--all", "--to", "agent"),
        ("replay", "--all", "--to", "nowhere"),
        ("replay", "--all", "--to", "topic:not-there"),
        ("replay", "--all", "--stage", "handler"),
        ("replay", "no-id"),
        ("replay", "--all", "--transform", "not_there:fix"),
        ("replay", "--all", "--rate", "fast"),
        ("replay", "--all", "--edit", "--execute"),
        ("discard", "--reason", "x"),
        ("take", "orders/5"),
    ],
)
def test_wrong_options_are_exit_2(rig_of_two: ReplayRig, arguments: tuple[str, ...]) -> None:
    result = rig_of_two.dlq_command(*arguments)
    assert result.exit_code == 2, result.output
    if "agent" in arguments:
        assert "needs a companion topic that follows its source's assignment; not built" in result.output


@pytest.fixture(scope="module")
def rig_of_two(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayRig]:
    """One for all that nothing is written to."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("two")
        patch.syspath_prepend(str(home))
        made = ReplayRig(bootstrap, home)
        made.bury(2)
        yield made
        made.close()


def test_a_broker_that_is_not_there_is_exit_3(replay_rig: ReplayRig) -> None:
    result = replay_rig.dlq_command("replay", "--all", "--timeout", "0.5", STREAMAPP_BROKER="127.0.0.1:1")
    assert result.exit_code == 3, result.output


@pytest.mark.parametrize("arguments", [("replay", "--stage", "sink"), ("replay", "orders/0/99"), ("replay", "--resume", "beef")])
def test_nothing_that_matches_is_exit_4(rig_of_two: ReplayRig, arguments: tuple[str, ...]) -> None:
    assert rig_of_two.dlq_command(*arguments).exit_code == 4


def test_a_letter_replayed_three_times_is_parked_until_it_is_forced(replay_rig: ReplayRig) -> None:
    (which,) = replay_rig.bury(1, replays=3)
    parked = replay_rig.dlq_command("replay", place(which), "--execute")
    assert parked.exit_code == 5, parked.output
    assert replay_rig.statuses() == {"parked": 1} and replay_rig.copies() == []
    forced = replay_rig.dlq_command("replay", place(which), "--execute", "--force", "--no-wait")
    assert forced.exit_code == 0, forced.output
    assert dict(replay_rig.copies()[0].headers)["streamapp.dlq.replay-count"] == b"4"


def test_a_stale_letter_needs_a_flag(replay_rig: ReplayRig) -> None:
    ids = replay_rig.bury(3, keys=1)  # offsets 0 and 1 of partition 0, and 0 of partition 1
    producer = Producer({"bootstrap.servers": replay_rig.bootstrap, "log_level": 0})
    producer.produce(replay_rig.source, b'{"n":9}', b"k0", 0)  # a record that did not fail
    assert producer.flush(PATIENCE) == 0
    refused = replay_rig.dlq_command("replay", "--all", "--execute", "--no-wait")
    assert refused.exit_code == 5 and "2 of 3 are stale" in refused.output, refused.output
    latest = replay_rig.dlq_command("replay", "--all", "--execute", "--no-wait", "--latest-per-key")
    assert latest.exit_code == 0, latest.output
    assert replay_rig.copied() == once([ids[1]])
    assert replay_rig.statuses() == {"discarded": 2, "replaying": 1}


def test_other_groups_need_a_target_named_by_hand(replay_rig: ReplayRig) -> None:
    ids = replay_rig.bury(2)
    consumer = Consumer({"bootstrap.servers": replay_rig.bootstrap, "group.id": f"{replay_rig.app_id}-billing", "log_level": 0})
    consumer.commit(offsets=[TopicPartition(replay_rig.source, 0, 0)], asynchronous=False)
    consumer.close()
    preview = replay_rig.dlq_command("replay", "--all")
    assert f"{replay_rig.source}: {replay_rig.app_id}-billing (lag 1) would see these records again" in preview.output
    refused = replay_rig.dlq_command("replay", "--all", "--execute", "--no-wait")
    assert refused.exit_code == 5, refused.output
    named = replay_rig.dlq_command("replay", "--all", "--execute", "--no-wait", "--to", "source")
    assert named.exit_code == 0, named.output
    assert replay_rig.copied() == once(ids)


def test_a_transform_is_sent_and_what_the_model_cannot_read_is_refused(replay_rig: ReplayRig) -> None:
    replay_rig.bury(2, value=lambda n: b'{"n":"%d"}' % n)
    spoiled = replay_rig.dlq_command("replay", "--all", "--execute", "--transform", f"{replay_rig.module}:spoil")
    assert spoiled.exit_code == 5 and "price could not read the value: Order.n has the wrong type" in spoiled.output, (
        spoiled.output
    )
    mended = replay_rig.dlq_command("replay", "--all", "--execute", "--no-wait", "--transform", f"{replay_rig.module}:mend")
    assert mended.exit_code == 0, mended.output
    assert sorted(copy.value or b"" for copy in replay_rig.copies()) == [b'{"n":0}', b'{"n":1}']
    assert all(dict(copy.headers).get("streamapp.dlq.edited-by") for copy in replay_rig.copies())


def test_a_value_that_was_cut_is_read_from_the_source(replay_rig: ReplayRig) -> None:
    replay_rig.bury(1, value=lambda _: b'{"n":1,"x":"' + b"x" * 5000 + b'"}', max_bytes=3000)
    result = replay_rig.dlq_command("replay", "--all", "--execute", "--no-wait", "--json")
    assert result.exit_code == 0, result.output
    (copy,) = replay_rig.copies()
    assert len(copy.value or b"") > 5000


def test_copies_elsewhere_are_resolved_at_once(replay_rig: ReplayRig) -> None:
    ids = replay_rig.bury(3)
    result = replay_rig.dlq_command("replay", "--all", "--execute", "--to", f"topic:{replay_rig.dlq}", "--json")
    assert result.exit_code == 0, result.output
    (told,) = documents(result)
    assert (told["sent"], told["resolved"]) == (3, 3)
    assert replay_rig.copied(replay_rig.dlq) == once(ids) and replay_rig.copies() == []
    assert replay_rig.statuses() == {"resolved": 3}


def test_an_exported_file_brings_what_is_sent(replay_rig: ReplayRig, tmp_path: Path) -> None:
    ids = replay_rig.bury(2)
    file = tmp_path / "mended.jsonl"
    line = {"id": ids[0], "key": base64.b64encode(b"k0").decode(), "value": base64.b64encode(b'{"n":7}').decode(), "text": "…"}
    file.write_text(json.dumps(line) + "\n")
    result = replay_rig.dlq_command("import", str(file), "--execute", "--no-wait")
    assert result.exit_code == 0, result.output
    (copy,) = replay_rig.copies()
    assert copy.value == b'{"n":7}' and b"edited-by" in b"".join(name.encode() for name, _ in copy.headers)


def test_discarded_letters_are_settled_and_stay(replay_rig: ReplayRig) -> None:
    ids = replay_rig.bury(2)
    preview = replay_rig.dlq_command("discard", place(ids[0]), "--reason", "a test")
    assert preview.exit_code == 0 and replay_rig.rows() == {}, preview.output
    done = replay_rig.dlq_command("discard", place(ids[0]), "--reason", "a test", "--execute")
    assert done.exit_code == 0, done.output
    row = replay_rig.rows()[ids[0]]
    assert isinstance(row, Resolution) and (row.status, row.reason) == (Status.DISCARDED, "a test")
    assert replay_rig.dlq_command("discard", place(ids[0]), "--reason", "again", "--execute").exit_code == 4


@pytest.mark.parametrize(("state", "code"), [(TakeState.TAKEN, 0), (TakeState.NOT_WAITING, 4), (None, 1)])
def test_a_take_is_answered_or_withdrawn(replay_rig: ReplayRig, state: TakeState | None, code: int) -> None:
    replay_rig.bury(1)
    assert replay_rig.dlq_command("take", f"{replay_rig.source}/0/0").exit_code == 0 and replay_rig.rows() == {}
    takes = None if state is None else Take(state=state, at=datetime.now(UTC), by="w-1")
    with PlayedWorker(replay_rig, takes=takes):
        result = replay_rig.dlq_command(
            "take", f"{replay_rig.source}/0/0", "--execute", "--answer-within", "1" if state is None else "20"
        )
    assert result.exit_code == code, result.output
    assert [row.state for row in replay_rig.rows().values() if isinstance(row, Take)] == ([] if state is None else [state])
