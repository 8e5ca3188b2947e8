"""How far a group is, seen from outside, with consumers that stay, so that asking costs little on shared cores."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, TopicPartition

from tests.benchmarks.processes import Running
from tests.benchmarks.workload import PARTITIONS
from tests.support.topics import Countdown, TookTooLong, bare_consumer

LOOK_EVERY: Final = 0.01
"""Seconds between two looks at the group where its commits are timed: how much too late a commit may be seen."""
REQUEST: Final = 10.0

Observation = tuple[float, dict[int, int]]
"""A moment (monotonic seconds), and the group's offsets in `orders` by partition as they stood then."""


class Watch:
    """What the group has committed, and what there is to commit."""

    def __init__(self, group: Consumer, ends: Consumer) -> None:
        self._group, self._ends = group, ends

    def committed(self, topic: str) -> dict[int, int]:
        """Return the group's next offset of each partition, 0 where it has none; of transactions only those that are over."""
        parts = [TopicPartition(topic, number) for number in range(PARTITIONS[topic])]
        return {part.partition: max(part.offset, 0) for part in self._group.committed(parts, timeout=REQUEST)}

    def ends(self, topic: str) -> dict[int, int]:
        """Return the high watermark of each partition."""
        found: dict[int, int] = {}
        for number in range(PARTITIONS[topic]):
            marks = self._ends.get_watermark_offsets(TopicPartition(topic, number), timeout=REQUEST)
            assert marks is not None
            found[number] = marks[1]
        return found

    def until_first_commit(self, topic: str, process: Running, deadline: float) -> float:
        """Return the moment (monotonic seconds) when the group's first offset is seen."""
        countdown = Countdown(deadline)
        while not any(self.committed(topic).values()):
            process.require_alive("without a commit")
            if countdown.over:
                raise TookTooLong(f"no commit within {deadline:g} s")
            time.sleep(LOOK_EVERY)
        return time.monotonic()

    def until_done(self, sources: Sequence[str], ends: Mapping[int, int], process: Running, deadline: float) -> None:
        """Return when every source is committed to its end: one topic after the other, since one feeds the next.

        `ends` are the first one's, without commit markers.
        """
        countdown = Countdown(deadline)
        for topic in sources:
            while (left := self._left(topic, ends if topic == sources[0] else None)) > 0:
                process.require_alive(f"{topic} lacks {left} records")
                if countdown.over:
                    raise TookTooLong(f"{topic} lacks {left} records after {deadline:g} s")
                time.sleep(0.02)

    def _left(self, topic: str, ends: Mapping[int, int] | None) -> int:
        committed = self.committed(topic)
        if ends is not None:
            return sum(max(0, end - committed[number]) for number, end in ends.items())
        # The last offset may be a commit marker, which is no record.
        return sum(max(0, end - 1 - committed[number]) for number, end in self.ends(topic).items())


@contextmanager
def watching(bootstrap: str, group: str) -> Iterator[Watch]:
    # Read uncommitted: the broker then answers at once with what is committed, instead of "wait" while a transaction ends.
    looker = bare_consumer(bootstrap, group=group, committed_only=False)
    ends = bare_consumer(bootstrap, committed_only=False)
    try:
        yield Watch(looker, ends)
    finally:
        looker.close()
        ends.close()


class CommitTimes:
    """Looks at the group every 10 ms on a thread of its own, from `with` to its end."""

    def __init__(self, watch: Watch, topic: str) -> None:
        self._watch, self._topic = watch, topic
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._look, name="commit-times", daemon=True)
        self._error: Exception | None = None
        self.seen: list[Observation] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._halt.set()
        self._thread.join(2 * REQUEST)
        if error is None and self._error is not None:
            raise self._error

    def until_past(self, last: Mapping[int, int], deadline: float) -> None:
        """Return once a look shows that these offsets are committed, or after `deadline` seconds: what is missing is told then."""
        countdown = Countdown(deadline)
        while not countdown.over:
            _, offsets = self.seen[-1] if self.seen else (0.0, {})
            if all(offsets.get(number, 0) > offset for number, offset in last.items()):
                return
            time.sleep(LOOK_EVERY)

    def _look(self) -> None:
        try:
            while not self._halt.wait(LOOK_EVERY):
                offsets = self._watch.committed(self._topic)
                self.seen.append((time.monotonic(), offsets))
        except Exception as error:  # a thread's edge: raised at the end, where someone sees it
            self._error = error
