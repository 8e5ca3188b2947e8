"""A worker's samples become verdicts: what is unknown stays unknown, rebalances leave no trace in the trend, and each change of status is told
once, with its numbers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from streamapp.monitor.lag.inputs import Change
from streamapp.monitor.lag.topic_limits import TopicLimits
from streamapp.monitor.lag.verdict import Cause, Status
from streamapp.monitor.watch import Around, LagWatch, Past, View
from streamapp.pipeline.facts import Distribution, LaneFacts, Standstill
from streamapp.records import Partition
from tests.support.lag_world import CONFIG, ORDERS, agent, ends, facts, lane

PAST = Past(version="1.5", worker="w-1")
STOPPED = Standstill("stopped", 40.0, agent="pricing", offset=100, detail="OrderInvalid")

TOLD = {"cleanup.policy": "compact,delete", "retention.ms": "3600000", "retention.bytes": "-1", "delete.retention.ms": "60000"}


class World:
    """A partition that is looked at every ten seconds."""

    def __init__(self, **tables: Sequence[str]) -> None:
        self.watch = LagWatch(CONFIG, PAST, {"orders": 8}, tables=tables)
        self.now = 0.0
        self.around = Around()
        self.restoring: list[dict[str, Any]] = []
        self.view: View

    def look(
        self, told: LaneFacts, end: int | None = 100, *, start: int | None = None, busy: float = 0.0, reachable: bool = True
    ) -> View:
        """Take a sample ten seconds after the last."""
        self.now += 10.0
        self.view = self.watch.sample(
            facts(self.now, [told], [agent(busy_seconds=busy, duration=Distribution((0.1, 1.0), (0, 100, 0), 50.0))]),
            {} if end is None else ends(end),
            {} if start is None else {ORDERS: start},
            self.restoring,
            self.around,
            reachable=reachable,
        )
        return self.view

    @property
    def status(self) -> Status:
        return self.view.verdicts[ORDERS].status

    def changes(self) -> list[Change]:
        return [each.change for each in self.view.marks[ORDERS]]


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if vars(record).get("event") == "status_changed"]


# --- what is sampled


def test_what_nobody_told_is_unknown_and_never_0() -> None:
    world = World()
    world.look(lane(position=None), None, reachable=False)
    sample, verdict = world.view.samples[ORDERS], world.view.verdicts[ORDERS]
    assert (sample.end, sample.high_watermark, sample.log_start, sample.position, sample.busy) == (None,) * 5
    assert verdict.lag is None
    assert (verdict.status, verdict.cause) == (Status.UNKNOWN, Cause.UNREACHABLE)


def test_the_log_s_start_holds_until_it_is_asked_for_again() -> None:
    world = World()
    world.look(lane(), start=7)
    world.look(lane())
    assert world.view.samples[ORDERS].log_start == 7


def test_an_agent_s_busy_share_is_that_of_the_time_between_two_samples_and_of_the_last_minute() -> None:
    world = World()
    for busy in (0.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 14.0):
        world.look(lane(), busy=busy)
    assert world.view.samples[ORDERS].busy == pytest.approx(0.5)
    assert world.view.busy == {"pricing": pytest.approx(5 / 60)}


@pytest.mark.parametrize(
    "moving",
    [
        lane(state="assigned", committed=None),
        lane(state="restoring", committed=None),
        lane(standstills=(Standstill("revoked", 1.0),)),
    ],
)
def test_what_is_seen_in_the_middle_of_a_rebalance_is_dropped(moving: LaneFacts) -> None:
    world = World()
    world.look(lane(committed=100))
    world.look(moving, 500)
    world.look(lane(committed=110), 110)
    assert [each.committed for each in world.watch.history(ORDERS)] == [100, 110]


def test_a_partition_that_comes_back_soon_has_its_history_and_one_that_stays_away_is_forgotten() -> None:
    world = World()
    other = Partition("orders", 4)
    world.look(lane())
    world.watch.revoked([ORDERS], world.now)
    world.watch.assigned([ORDERS], world.now + 5)
    world.look(lane())
    assert len(world.watch.history(ORDERS)) == 2
    assert world.changes() == [Change.ASSIGNED, Change.REVOKED, Change.ASSIGNED]
    world.watch.revoked([ORDERS], world.now)
    world.now += 1_900.0
    world.watch.sample(facts(world.now, [lane(other)]), {}, {}, [], Around(), reachable=True)
    assert world.watch.history(ORDERS) == ()
    assert set(world.watch.memories()) == {other}


# --- what happened


def test_what_came_before_the_process_is_marked_once_a_deploy_with_both_versions() -> None:
    world = World()
    world.watch.assigned([ORDERS], 2.0)
    world.watch.began(Past(version="1.5", worker="w-1", previous_version="1.4", starts=(-500.0, 1.0)))
    world.watch.revoked([ORDERS], 3.0)
    world.watch.assigned([ORDERS], 4.0)
    world.look(lane())
    marks = world.view.marks[ORDERS]
    assert [each.at for each in marks if each.change is Change.RESTARTED] == [-500.0, 1.0]
    assert [(each.at, each.version, each.detail) for each in marks if each.change is Change.DEPLOYED] == [
        (1.0, "1.5", "1.4 -> 1.5")
    ]


def test_a_breaker_and_a_pause_are_marked_when_they_begin_not_as_long_as_they_last() -> None:
    world = World()
    for standstills in (
        (),
        (Standstill("breaker", 15.0, agent="pricing"),),
        (Standstill("breaker", 15.0), STOPPED),
        (STOPPED,),
        (),
    ):
        world.look(lane(standstills=standstills))
    assert [(each.at, each.change) for each in world.view.marks[ORDERS]][1:] == [(15.0, Change.BREAKER), (40.0, Change.PAUSED)]


# --- what bounds it


def test_retention_is_unknown_until_somebody_told_it_and_then_it_bounds() -> None:
    world = World()
    assert not world.look(lane()).limits[ORDERS].topic.known
    world.around = Around(topics={"orders": TopicLimits.of(TOLD)}, offsets_retention=604_800.0)
    limits = world.look(lane()).limits[ORDERS]
    assert (limits.topic.retention, limits.topic.retention_bytes, limits.topic.delete_retention, limits.offsets_retention) == (
        3600.0,
        None,
        60.0,
        604_800.0,
    )
    assert (limits.topic.compacted, limits.topic.deleted, limits.topic.known) == (True, True, True)


def test_unlimited_retention_is_no_number() -> None:
    limits = TopicLimits.of(TOLD | {"retention.ms": "-1"})
    assert (limits.known, limits.retention, limits.retention_bytes) == (True, None, None)


@pytest.mark.parametrize("name", sorted(TOLD))
def test_a_limit_that_was_not_told_is_no_promise(name: str) -> None:
    assert TopicLimits.of(TOLD).known
    assert not TopicLimits.of({other: value for other, value in TOLD.items() if other != name}).known
    assert name == "cleanup.policy" or not TopicLimits.of(TOLD | {name: "soon"}).known
    assert not TopicLimits.of(None).known


def test_a_restore_moves_while_its_records_come_and_stands_after_a_minute_without() -> None:
    world = World(totals=["orders"], others=["parcels"])
    row = {"table": "totals", "partition": 3, "state": "reading", "offset": 10, "target": 50, "records": 10, "seconds_left": 4.0}
    strange = {**row, "table": "others", "records": 99}
    world.restoring = [row, {**row, "partition": 4}, strange]
    shown = world.look(lane()).limits[ORDERS].restore
    assert shown is not None
    assert (shown.restored, shown.remaining, shown.seconds_left, shown.moving) == (10, 40, 4.0, True)
    for _ in range(6):
        shown = world.look(lane()).limits[ORDERS].restore
    assert shown is not None
    assert not shown.moving
    world.restoring = [{**row, "records": 11}]
    shown = world.look(lane()).limits[ORDERS].restore
    assert shown is not None
    assert shown.moving


# --- what is told


def test_one_evaluation_changes_no_status_two_do_and_each_change_is_told_once_with_its_numbers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    with caplog.at_level(logging.INFO):
        world.look(lane())
        for number in range(8):
            world.look(lane(standstills=(STOPPED,), unmerged=10, position=110), 110 + number)
            stood = world.view.at - 20.0
            assert (world.status is Status.STALLED) == (stood >= 70.0), "a minute of standing, seen twice"
        for number in range(3):
            world.look(lane(committed=200 + number), 200 + number)
    assert [(each["before"], each["status"]) for each in told(caplog)] == [
        ("OK", "UNKNOWN"),
        ("UNKNOWN", "STALLED"),
        ("STALLED", "OK"),
    ]
    stalled = told(caplog)[1]
    assert (stalled["cause"], stalled["topic"], stalled["partition"], stalled["committed"], stalled["lag"]) == (
        "stopped",
        "orders",
        3,
        100,
        17,
    )


def test_lost_records_are_told_at_once_with_their_count(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO):
        world.look(lane(), 400, start=0)
        world.look(lane(), 400, start=250)
    assert (world.status, world.view.verdicts[ORDERS].lost) == (Status.DATA_LOST, 150)
    assert told(caplog)[-1]["lost"] == 150
    assert any("150" in record.getMessage() for record in caplog.records if vars(record).get("event") == "status_changed")


def test_the_group_is_as_its_worst_partition_and_counts_its_workers() -> None:
    world = World()
    world.around = Around(workers=9)
    world.look(lane(), 400, start=0)
    view = world.look(lane(), 400, start=250)
    assert (view.group.status, view.group.affected, view.group.workers) == (Status.DATA_LOST, (ORDERS,), 9)
