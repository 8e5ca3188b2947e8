"""A sample of a worker's stack is told by the engine's code that it is in, and the sums of a run add up to what the kernel counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.profile_probe import COMMITTED, PARTS, found, kind, threads
from tests.benchmarks.profile_stages import (
    _RULES,
    ELSEWHERE,
    MAIN,
    MAIN_STAGES,
    OTHER_PARTS,
    TRANSACTIONS,
    UNACCOUNTED,
    Frame,
    Snapshot,
    between,
    stage_of,
    window,
)

ROOT = Path(__file__).parents[3]
SITE = "/venv/lib/python3.11"
NEXT = Frame("/x/streamapp/pipeline/cursor.py", "next", "item = inlet.queue.popleft()")
AGENT = Frame("/x/agents/orders.py", "order_processor", "async for order in stream:")
TURN = Frame(f"{SITE}/asyncio/events.py", "_run", "self._context.run(self._callback)")


@pytest.mark.parametrize(
    ("stack", "stage"),
    [
        ([NEXT, AGENT, TURN], "record path"),
        ([Frame(NEXT.file, "next", "value = inlet.decode(raw)"), AGENT, TURN], "decode"),
        ([AGENT, TURN], "agent"),
        ([Frame("/x/tests/benchmarks/dedupe_app.py", "forward", "async for"), TURN], "agent"),
        (
            [
                Frame("/x/streamapp/state/rocksdb.py", "get", "value = self._get(DATA + key)"),
                Frame("/x/streamapp/pipeline/overlay.py", "read", "return self.store.get(key)"),
                Frame("/x/streamapp/pipeline/dedupe.py", "seen", "mark = partition.read(key)"),
                NEXT,
                AGENT,
            ],
            "dedupe look-up",
        ),
        (
            [
                Frame("/x/agents/orders.py", "<lambda>", "order_id"),
                Frame("/x/streamapp/pipeline/dedupe.py", "seen", ""),
                NEXT,
                AGENT,
            ],
            "dedupe look-up",
        ),
        (
            [
                Frame("/x/streamapp/pipeline/overlay.py", "read", "return self.store.get(key)"),
                Frame("/x/streamapp/pipeline/table.py", "get", ""),
                Frame("/x/streamapp/worker/tables.py", "__getitem__", ""),
                AGENT,
            ],
            "tables",
        ),
        ([Frame("/x/streamapp/worker/topics.py", "send", "self._encode_value(value)"), AGENT, TURN], "encode"),
        (
            [
                Frame("/x/streamapp/kafka/producer.py", "produce", ""),
                Frame("/x/streamapp/pipeline/admission.py", "_send", ""),
                NEXT,
            ],
            "produce",
        ),
        ([Frame("/x/streamapp/pipeline/admission.py", "_merge", ""), NEXT, AGENT], "admit"),
        ([Frame(f"{SITE}/selectors.py", "select", "fd_event_list = self._selector.poll(timeout)"), TURN], "event loop"),
        ([Frame(f"{SITE}/site-packages/mode/worker.py", "run", "")], ELSEWHERE),
        ([], ELSEWHERE),
    ],
)
def test_the_innermost_frame_that_says_a_stage_tells_it(stack: list[Frame], stage: str) -> None:
    assert stage_of(stack) == stage


def test_every_file_and_function_that_the_probe_names_is_there() -> None:
    for rule in _RULES:
        assert not rule.file.startswith("streamapp/") or (ROOT / rule.file).is_file(), rule
        assert rule.stage in MAIN_STAGES
    for place in (*PARTS.values(), COMMITTED):
        found(place)
    with pytest.raises(LookupError, match=r"has no streamapp\.pipeline\.commit:Commit\.gone"):
        found("streamapp.pipeline.commit:Commit.gone")


def snapshot(
    records: int, process: float, *, main: dict[str, float], parts: dict[str, float], threads: dict[str, float]
) -> Snapshot:
    return Snapshot(records=records, process=process, main=main, unknown={}, parts=parts, threads=threads, samples=records // 100)


def test_what_the_kernel_counted_is_shared_out_as_the_samples_say() -> None:
    first = snapshot(1_000, 1.0, main={"decode": 0.1}, parts={"apply": 0.05}, threads={MAIN: 0.6, TRANSACTIONS: 0.1, "rdk": 0.2})
    last = snapshot(
        3_000,
        3.0,
        main={"decode": 0.4, "agent": 0.1},  # 0.4 s sampled, of 0.8 s that were used
        parts={"apply": 0.25},
        threads={MAIN: 1.4, TRANSACTIONS: 0.4, "rdk": 0.9, "rocksdb": 0.1},
    )
    profile = between(first, last)
    assert [(row.thread, row.stage, round(row.seconds, 6)) for row in profile.rows] == [
        (MAIN, "decode", 0.6),
        (MAIN, "agent", 0.2),
        (TRANSACTIONS, "apply", 0.2),
        (TRANSACTIONS, OTHER_PARTS, 0.1),
        ("rdk", "", 0.7),
        ("rocksdb", "", 0.1),
        (UNACCOUNTED, "", 0.1),
    ]
    assert sum(row.seconds for row in profile.rows) == pytest.approx(profile.seconds) == 2.0
    assert profile.microseconds(2.0) == 1_000
    assert profile.share(0.5) == 0.25


def test_a_thread_without_samples_is_unknown_and_not_left_out() -> None:
    first = snapshot(0, 0.0, main={}, parts={}, threads={})
    profile = between(first, snapshot(10, 1.0, main={}, parts={}, threads={MAIN: 1.0}))
    assert [(row.thread, row.stage) for row in profile.rows] == [(MAIN, "unknown: no samples"), (UNACCOUNTED, "")]


def test_only_what_lies_wholly_behind_the_warm_up_is_told() -> None:
    taken = [snapshot(records, 0.0, main={}, parts={}, threads={}) for records in (500, 1_000, 1_001, 1_500, 2_000)]
    assert [each.records for each in window(taken, 1_000)] == [1_001, 2_000]
    with pytest.raises(LookupError, match="last at 1001: too few to tell"):
        window(taken[:3], 1_000)
    with pytest.raises(LookupError, match="last at 0"):
        window([], 1_000)


def test_threads_are_told_by_name_or_kind_with_the_seconds_that_they_used() -> None:
    sum(range(300_000))
    assert threads()[MAIN] > 0
    assert kind("rdk:broker1") == "librdkafka: connections"
    assert kind("rdk:main") == "librdkafka: the rest"
    assert kind("rocksdb:low") == "RocksDB: flush and compaction"
    assert kind("python") == "python"
