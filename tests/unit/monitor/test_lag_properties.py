"""Whatever the series: a verdict never raises, an unknown input never becomes a zero, and the worst status that holds is the one told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from streamapp.monitor.lag.evaluate import evaluate, evaluate_group, settled
from streamapp.monitor.lag.explain import explain, fix_of
from streamapp.monitor.lag.inputs import Change, Config, Happening, Limits, RestoreShown, Sample
from streamapp.monitor.lag.topic_limits import TopicLimits
from streamapp.monitor.lag.verdict import Status
from streamapp.pipeline.facts import Standstill
from tests.support.lag_series import CONFIG, LIMITS, NOW

OFFSETS = st.none() | st.integers(0, 2_000_000)
SECONDS = st.none() | st.floats(0, 1e7)
KINDS = st.sampled_from(
    ["revoked", "rewinding", "restoring", "retrying", "breaker", "stopped", "blocked", "unwritten", "suspect", "paused"]
)

SAMPLES = st.builds(
    Sample,
    at=st.floats(NOW - 2000, NOW),
    committed=OFFSETS,
    position=OFFSETS,
    high_watermark=OFFSETS,
    end=OFFSETS,
    log_start=OFFSETS,
    oldest_unread=st.none() | st.floats(NOW - 1e7, NOW + 1e4),
    merged=OFFSETS,
    unmerged=st.none() | st.integers(0, 5000),
    busy=st.none() | st.floats(0, 1),
    settled=st.booleans(),
)
EVENTS = st.builds(
    Happening,
    at=st.floats(NOW - 2000, NOW + 100),
    change=st.sampled_from(Change),
    worker=st.none() | st.sampled_from(["w-0", "w-1"]),
    version=st.none() | st.just("1.4"),
)
LIMITED = st.builds(
    Limits,
    topic=st.builds(
        TopicLimits,
        retention=SECONDS,
        retention_bytes=st.none() | st.integers(0, 10**12),
        known=st.booleans(),
        compacted=st.booleans(),
        deleted=st.booleans(),
        delete_retention=SECONDS,
    ),
    offsets_retention=SECONDS,
    empty_since=st.none() | st.floats(NOW - 1e7, NOW),
    owner=st.none() | st.just("w-0"),
    owner_known=st.booleans(),
    standstills=st.lists(st.builds(Standstill, kind=KINDS, since=st.just(NOW - 100), offset=OFFSETS), max_size=3).map(tuple),
    in_hand=st.none() | st.tuples(st.just("order_processor"), st.floats(0, 1e4)),
    handler_p99=SECONDS,
    restore=st.none() | st.builds(RestoreShown, st.integers(0, 10**9), OFFSETS, SECONDS, moving=st.booleans()),
    rebalancing_since=st.none() | st.floats(NOW - 1e4, NOW),
    last_commit=st.none() | st.floats(NOW - 1e7, NOW + 10),
    upstream_timeout=SECONDS,
    partitions=st.integers(1, 48),
)
CONFIGURED = st.builds(
    Config,
    group=st.just("order-processor"),
    commit_interval=st.floats(0.01, 300),
    earliest=st.booleans(),
    reset_policy=st.just("earliest"),
    reachable=st.booleans(),
)


@given(st.lists(SAMPLES, max_size=16), st.lists(EVENTS, max_size=6), LIMITED, CONFIGURED)
def test_no_series_makes_it_raise(samples: list[Sample], events: list[Happening], limits: Limits, config: Config) -> None:
    found = evaluate(samples, events, limits, config, NOW)
    assert explain(found)
    assert fix_of(found, config) != ""
    group = evaluate_group([found, settled(found, found, found)], config, None, NOW)
    assert group.status is found.status


@given(st.lists(SAMPLES, min_size=1, max_size=16), LIMITED, st.sampled_from(["end", "committed", "oldest_unread", "log_start"]))
def test_none_in_never_becomes_zero_out(samples: list[Sample], limits: Limits, missing: str) -> None:
    unknown = [replace(each, **cast("dict[str, Any]", {missing: None})) for each in samples]
    found = evaluate(unknown, [], replace(limits, owner=None), replace(CONFIG, earliest=False), NOW)
    outputs = {
        "end": (
            found.end,
            found.lag,
            found.raw_lag,
            found.blocked,
            found.produced_rate,
            found.growth,
            found.drain,
            found.utilization,
        ),
        "committed": (found.committed, found.raw_lag, found.headroom, found.growth if found.lag is None else None),
        "oldest_unread": (found.age, found.pace, found.used, found.hour_in),
        "log_start": (found.log_start, found.headroom),
    }[missing]
    assert set(outputs) == {None}


@given(st.lists(SAMPLES, max_size=16), st.lists(EVENTS, max_size=4), LIMITED, CONFIGURED)
def test_the_worst_status_that_holds_is_told(
    samples: list[Sample], events: list[Happening], limits: Limits, config: Config
) -> None:
    found = evaluate(samples, events, limits, config, NOW)
    lost = (found.log_start or 0) > found.committed if found.committed is not None and found.log_start is not None else False
    assert (found.status is Status.DATA_LOST) == lost
    if not lost and found.lag and found.used is not None and found.used > 0.8:
        assert found.status is Status.AT_RISK
    if found.status is Status.OK and found.lag != 0:
        assert (found.age is not None and found.age < 10) or (found.lag is not None and found.growth is not None)


@given(st.lists(SAMPLES, max_size=16))
def test_nothing_unknown_is_ok(samples: list[Sample]) -> None:
    unknown = [replace(each, end=None, high_watermark=None, oldest_unread=None) for each in samples]
    assert evaluate(unknown, [], LIMITS, CONFIG, NOW).status in (Status.UNKNOWN, Status.DATA_LOST)
