"""Samples, limits and settings of one partition, for tests of what a verdict makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Final

from streamapp.monitor.lag.evaluate import evaluate
from streamapp.monitor.lag.inputs import Config, Happening, Limits, Sample
from streamapp.monitor.lag.topic_limits import TopicLimits
from streamapp.monitor.lag.verdict import Verdict
from streamapp.records import Partition

ORDERS_3 = Partition("orders", 3)
NOW = 1_800_000_000.0
DAY = 86_400.0
STEP = 10.0

CONFIG = Config(group="order-processor", commit_interval=0.2, earliest=True, reset_policy="earliest", broker="localhost:9092")
LIMITS = Limits(
    topic=TopicLimits(known=True, retention=DAY, retention_bytes=None, compacted=False, deleted=True, delete_retention=None),
    offsets_retention=7 * DAY,
    empty_since=None,
    owner="w-2",
    owner_known=True,
    standstills=(),
    in_hand=None,
    handler_p99=0.01,
    restore=None,
    rebalancing_since=None,
    last_commit=NOW,
    upstream_timeout=None,
    partitions=8,
    partition=ORDERS_3,
)


def sample(at: float, committed: int | None, end: int | None, **more: object) -> Sample:
    """Return one sample of a command: what only a worker knows is None unless it is given."""
    given: dict[str, object] = {
        "position": None,
        "high_watermark": end,
        "log_start": 0,
        "oldest_unread": None,
        "merged": None,
        "unmerged": None,
        "busy": None,
    }
    return Sample(at=at, committed=committed, end=end, **(given | more))  # type: ignore[arg-type]  # tests give what a Sample has


def ramp(
    seconds: float,
    lag: Callable[[float], float],
    *,
    produced: float = 120.0,
    pace: float = 1.0,
    age: float = 750.0,
    now: float = NOW,
    step: float = STEP,
    **more: object,
) -> list[Sample]:
    """Return samples of the last `seconds`: `lag(t)` records unread at t seconds before now (t <= 0), the oldest `age` old now."""
    count = round(seconds / step)
    series = []
    for index in range(-count, 1):
        t = index * step
        end = round(1_294_400 + produced * t)
        unread = round(lag(t))
        oldest = now - age + pace * t if unread > 0 else None
        series.append(sample(now + t, end - unread, end, **({"oldest_unread": oldest} | more)))
    return series


def by_blocks(slopes: Sequence[float], block: float, last: float) -> Callable[[float], float]:
    """Return the lag that ends at `last` and moved by `slopes`, one per block of seconds, the oldest first."""

    def lag(t: float) -> float:
        left, value = -t, last
        for slope in reversed(slopes):
            part = min(left, block)
            value -= slope * part
            left -= part
        return value - slopes[0] * left

    return lag


_OF_TOPIC: Final = frozenset(each.name for each in fields(TopicLimits))


def judged(
    samples: Sequence[Sample],
    events: Sequence[Happening] = (),
    *,
    limits: Limits = LIMITS,
    config: Config = CONFIG,
    now: float = NOW,
    **changed: object,
) -> Verdict:
    """Return the verdict; `changed`: fields of the limits, its topic's among them."""
    of_topic = {name: changed.pop(name) for name in [*changed] if name in _OF_TOPIC}
    topic = replace(limits.topic, **of_topic)  # type: ignore[arg-type]  # as above
    return evaluate(samples, events, replace(limits, topic=topic, **changed), config, now)  # type: ignore[arg-type]  # as above
