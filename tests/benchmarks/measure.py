"""One measured run: start the process, warm it, give it everything at once, and count until all is committed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from tests.benchmarks.contenders import Contender, changelog_topics, data_dir, order_id_of, recount
from tests.benchmarks.workload import PARTITIONS, Load, fresh_topics, small_orders
from tests.support.orders import Fed, feed_all
from tests.support.process_cost import cpu_seconds, peak_rss_bytes
from tests.support.topics import Countdown, TookTooLong, bare_consumer
from tests.support.workers import ROOT

STOP: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    bootstrap: str
    home: Path
    records: int
    resent: float
    warm_up: int
    """Records before the measured ones, in the same process: caches, JIT of the broker, first rebalance."""
    commit_interval: float = 0.2
    deadline: float = 120.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run, between the moment when the load became visible to an idle, warm worker and its last commit."""

    seconds: float
    cpu_seconds: float
    """Of the worker's process, all threads, in that time."""
    records_per_second: float
    records_per_cpu_second: float
    peak_rss_bytes: int
    """Of the process's whole life."""
    stage_records_per_cpu_second: float
    """Records of all stages: an order that is priced makes one more, for the second stage."""

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def run(contender: Contender, plan: Plan, number: int, *, thorough: bool = False) -> Figures:
    """Measure `contender` once on fresh topics and check its output. Raises OutputWrong, TookTooLong."""
    app_id = f"bench-{contender.job.name}-{contender.name.split()[0]}-{number}-{time.time_ns() % 10**9}"
    fresh_topics(plan.bootstrap, changelog_topics(app_id, contender.job))
    warm = list(small_orders(plan.warm_up, seed=-number, resent=plan.resent, first_id=10_000_000))
    main = list(small_orders(plan.records, seed=number, resent=plan.resent))
    feed_all(plan.bootstrap, warm)
    with _process(contender, plan, app_id) as process, _watch(plan.bootstrap, app_id) as watch:
        watch.until_done(contender.job.sources, process, 60)
        load = Load(plan.bootstrap)
        load.put(main)
        cpu, started = cpu_seconds(process.pid), time.monotonic()
        load.release()
        watch.until_done(contender.job.sources, process, plan.deadline)
        seconds, cpu, rss = time.monotonic() - started, cpu_seconds(process.pid) - cpu, peak_rss_bytes(process.pid)
    recount(plan.bootstrap, contender, Counter(order_id_of(fed.value or b"") for fed in _both(warm, main)))
    if thorough and contender.thorough is not None:
        contender.thorough(plan.bootstrap, app_id)
    later_stages = (len(contender.job.sources) - 1) * len({order_id_of(fed.value or b"") for fed in main})
    staged = (plan.records + later_stages) / cpu
    return Figures(seconds, cpu, plan.records / seconds, plan.records / cpu, rss, staged)


def _both(warm: list[Fed], main: list[Fed]) -> Iterator[Fed]:
    yield from warm
    yield from main


@contextmanager
def _process(contender: Contender, plan: Plan, app_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the contender in a process of its own; it gets SIGTERM at the end, and SIGKILL when that is not enough."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "ORDER_PROCESSOR_"))}
    settings = {
        "STREAMAPP_BROKER": plan.bootstrap,
        "STREAMAPP_APP_ID": app_id,
        "STREAMAPP_WORKER_ID": "w1",
        "STREAMAPP_DATA_DIR": str(data_dir(plan.home, app_id)),
        "STREAMAPP_COMMIT_INTERVAL": str(plan.commit_interval),
        "STREAMAPP_WEB_PORT": "0",
    }
    plan.home.mkdir(parents=True, exist_ok=True)
    with (plan.home / f"{app_id}.log").open("wb") as log:
        process = subprocess.Popen(
            contender.command,
            cwd=ROOT,
            env=plain | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        except AssertionError as error:
            error.add_note(_tail(Path(log.name)))
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(f"  | {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])


class _Watch:
    """Asks how far the group is, with consumers that stay, so that asking costs little on shared cores."""

    def __init__(self, group: Consumer, ends: Consumer) -> None:
        self._group, self._ends = group, ends

    def until_done(self, sources: Sequence[str], process: subprocess.Popen[bytes], deadline: float) -> None:
        """Return when every source is committed to its end: one topic after the other, since one feeds the next."""
        countdown = Countdown(deadline)
        for topic in sources:
            while (left := self._left(topic)) > 0:
                if process.poll() is not None:
                    raise AssertionError(f"the worker ended with {process.returncode}, {topic} lacks {left} records")
                if countdown.over:
                    raise TookTooLong(f"{topic} lacks {left} records after {deadline:g} s")
                time.sleep(0.02)

    def _left(self, topic: str) -> int:
        parts = [TopicPartition(topic, number) for number in range(PARTITIONS[topic])]
        left = 0
        for part in self._group.committed(parts, timeout=10):
            marks = self._ends.get_watermark_offsets(TopicPartition(topic, part.partition), timeout=10)
            assert marks is not None
            # The last offset may be a commit marker, which is no record.
            left += max(0, marks[1] - 1 - max(part.offset, 0))
        return left


@contextmanager
def _watch(bootstrap: str, app_id: str) -> Iterator[_Watch]:
    group, ends = bare_consumer(bootstrap, group=app_id), bare_consumer(bootstrap, committed_only=False)
    try:
        yield _Watch(group, ends)
    finally:
        group.close()
        ends.close()
