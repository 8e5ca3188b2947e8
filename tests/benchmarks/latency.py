"""How long a record takes at a tenth, a half and nine tenths of what the contender can do.

- *End to end*: from the moment when a record was due to be sent until a `read_committed` reader has it in hand, in the job's last
  topic. Generator and reader are processes of their own on the same cores; what they cost is reported beside.
- *Commit latency*, for every contender alike, seen from outside: at a tenth of the load, from a record's delivery report (it can be
  read) to the first look at the group that shows an offset behind it. A look comes every 10 ms, so figures are up to that
  too high.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from math import inf
from typing import Final

from tests.benchmarks.checking import require_each_once
from tests.benchmarks.contenders import Contender
from tests.benchmarks.measure import Plan, changelog_topics, new_app_id
from tests.benchmarks.processes import running
from tests.benchmarks.progress import CommitTimes, Observation, Watch, watching
from tests.benchmarks.spread import percentile
from tests.benchmarks.steady import START_UP, Read, Sent, Stream, read_steadily, send_steadily, side
from tests.benchmarks.workload import forget_topics, fresh_topics

LOADS: Final = (0.1, 0.5, 0.9)
STREAM_IDS: Final = 20_000_000
WARM_UP: Final = 2.0
WARM_LOAD: Final = 0.5
"""Seconds and share of a steady load that is not counted: connections, caches, a JVM's compiler."""
COMMITS_COME: Final = 15.0
"""Seconds in which offsets have to follow what is visible already."""
GRACE: Final = 10.0
"""Seconds after the last record was due in which the reader waits for what is missing."""
BEHIND: Final = 1.0
"""Seconds, beside the commit interval, after which the last record is taken for a sign that the contender does not keep up."""


LATE: Final = 0.1
"""Seconds after which a generator's own lateness makes the figures its own."""


@dataclass(frozen=True, slots=True)
class Latency:
    """At one load. Seconds; `inf` where a record did not come while the reader waited."""

    load: float
    """Of the contender's own rate."""
    rate: float
    records: int
    commit_interval: float
    p50: float
    p95: float
    p99: float
    commit_p50: float | None
    commit_p99: float | None
    """None where commits were not timed."""
    keeps_up: bool
    generator_late: float
    """Seconds that the generator itself was late, at most."""
    around_cpu_seconds: float
    """What generator and reader cost, on the cores that the contender and the broker use."""

    @property
    def is_the_generators(self) -> bool:
        return self.generator_late > LATE

    def as_json(self) -> dict[str, float | None]:
        return {name: None if value == inf else value for name, value in asdict(self).items()}


def latencies(contender: Contender, plan: Plan, rate: float, *, seconds: float, loads: Sequence[float] = LOADS) -> list[Latency]:
    """Measure one process at each load in turn, on fresh topics. `rate` is its own, in records/s. Raises OutputWrong."""
    app_id = new_app_id(contender, 0)
    job = contender.job
    fresh_topics(plan.bootstrap, changelog_topics(app_id, job))
    streams = list(_streams(contender, plan, rate, seconds, loads))
    found: list[Latency] = []
    with (
        running(
            contender, bootstrap=plan.bootstrap, app_id=app_id, home=plan.home, commit_interval=plan.commit_interval
        ) as process,
        watching(plan.bootstrap, contender.group(app_id)) as watch,
    ):
        for number, (load, stream) in enumerate(streams):
            measured = _measure(load, stream, watch, plan, first=number == 0)
            watch.until_done(job.sources, watch.ends("orders"), process, plan.deadline)
            if number > 0:
                found.append(measured)
    require_each_once(plan.bootstrap, contender, [stream.ids for _, stream in streams])
    forget_topics(plan.bootstrap, app_id)
    return found


def _streams(
    contender: Contender, plan: Plan, rate: float, seconds: float, loads: Sequence[float]
) -> Iterator[tuple[float, Stream]]:
    """Yield the warm-up, which is not counted, and each load."""
    first_id = STREAM_IDS
    for load, lasts in [(WARM_LOAD, WARM_UP), *((load, seconds) for load in loads)]:
        stream = Stream(
            bootstrap=plan.bootstrap,
            first_id=first_id,
            rate=rate * load,
            seconds=lasts,
            value_bytes=contender.job.value_bytes,
            ends_in=contender.job.outputs[-1],
            reports=load <= LOADS[0],
        )
        first_id += stream.count
        yield load, stream


def _measure(load: float, stream: Stream, watch: Watch, plan: Plan, *, first: bool) -> Latency:
    with side(read_steadily, stream) as reader, side(send_steadily, stream) as generator:
        for each in (reader, generator):
            each.answer(START_UP)
        start = time.monotonic() + 0.1
        # The first load finds a process that is only starting.
        over = start + stream.seconds + (START_UP if first else GRACE)
        reader.tell(over)
        generator.tell(start)
        with CommitTimes(watch, "orders") if stream.reports else nullcontext() as commits:
            read = reader.answer(over - time.monotonic() + START_UP)
            sent = generator.answer(START_UP)
            assert isinstance(read, Read) and isinstance(sent, Sent)
            if commits is not None:
                commits.until_past(_last_offsets(sent), COMMITS_COME)
    waits = sorted(moment - stream.due(at, start) for at, moment in enumerate(read.moments))
    last = max(read.moments) - stream.due(stream.count - 1, start)
    committed = commit_latencies(sent, commits.seen) if commits is not None else []
    return Latency(
        load=load,
        rate=stream.rate,
        records=stream.count,
        commit_interval=plan.commit_interval,
        p50=percentile(waits, 0.5),
        p95=percentile(waits, 0.95),
        p99=percentile(waits, 0.99),
        commit_p50=percentile(committed, 0.5) if committed else None,
        commit_p99=percentile(committed, 0.99) if committed else None,
        keeps_up=last <= BEHIND + plan.commit_interval,
        generator_late=sent.late,
        around_cpu_seconds=sent.cpu_seconds + read.cpu_seconds,
    )


def _last_offsets(sent: Sent) -> dict[int, int]:
    last: dict[int, int] = {}
    for partition, offset in zip(sent.partitions, sent.offsets, strict=True):
        last[partition] = max(offset, last.get(partition, 0))
    return last


def commit_latencies(sent: Sent, seen: Sequence[Observation]) -> list[float]:
    """Return, sorted, the seconds from each record's being readable to the first look that shows its offset committed."""
    when = [moment for moment, _ in seen]
    waits: list[float] = []
    committed: dict[int, list[int]] = {}
    for partition, offset, readable in zip(sent.partitions, sent.offsets, sent.readable, strict=True):
        steps = committed.get(partition)
        if steps is None:
            steps = committed[partition] = [offsets.get(partition, 0) for _, offsets in seen]
        look = bisect_right(steps, offset)
        # A commit may be seen before the delivery report is handled: that record waited for nothing.
        waits.append(max(0.0, when[look] - readable) if look < len(when) else inf)
    return sorted(waits)
