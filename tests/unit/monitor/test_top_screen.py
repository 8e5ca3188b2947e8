"""The screen of `streamapp top`: golden at 80 and 140 columns; what it merges, what gives way where there is little room, what is unknown."""

from __future__ import annotations

import pytest

from streamapp.monitor.lag.verdict import Status
from streamapp.monitor.status import Bounds, GroupStatus, StatusDocument
from streamapp.monitor.top import BARS, TREND, Heard, partitions_of, screen, trend
from tests.support.top_world import NOW, agent, behind, document, history, partition, restoring

SILENT = Heard("http://w-2:6066", None, "[Errno 111] Connection refused")
TALL = 60


def heard(*documents: StatusDocument) -> list[Heard]:
    return [Heard(f"http://{each.worker.worker}:6066", each) for each in documents]


def shown(*said: Heard, width: int = 140, height: int = TALL) -> str:
    return "".join(f"{line.plain}\n" for line in screen(said, width=width, height=height, now=NOW))


AT_140 = """\
◣ CLIFF  order-processor w-1  1 of 1 partitions restoring (5): 61 % done, 8s left
↗ FALLING_BEHIND  order-processor w-0  1 of 2 partitions falling behind (3); oldest unread 12m30s; loss in 5d22h; 5 workers needed, 2 run
08:00:00Z  w-0 1.4.0 ready  w-1 1.4.0 not ready: restoring customer_totals/5
not answering: http://w-2:6066: [Errno 111] Connection refused
orders/5 restoring, 61 % done, 8s left

PARTITION    LAG  30 MIN           AGE  IN/S  OUT/S          GROWTH  DRAIN   LOSS  COMMIT  WORKER  STATUS
orders/5    4100  -                42s     -      -               -      -      -       -  w-1     ◣ CLIFF
orders/3   90000  ▅▆▆▆▆▇▇▇▇███  12m30s   120    100   +20/s (16…24)      -  5d22h    0.2s  w-0     ↗ FALLING_BEHIND
orders/0       0  ▁▁▁▁▁▁▁▁▁▁▁▁       -   100    100  0/s (-0.5…0.5)      -  never    0.2s  w-0     ● OK

AGENT            READS   PROCESSED  BUSY  P50   P99  IN HAND  RETRIES  DEAD LETTERS  BREAKERS
order_processor  orders     812000  93 %  4ms  41ms        1       12             7  closed

TRANSACTIONS  COMMITTED  ABORTED  RESUMED  UNKNOWN  REBUILT   OPEN  COMMIT P50  COMMIT P99  REBALANCES
w-0               41233        3        1        0        1  120ms         6ms        20ms           2
w-1                   0        0        0        0        0      -           -           -           1

TABLE            PARTITIONS   KEYS    BYTES  RESTORING  TO RESTORE  TIME LEFT  TROUBLE
customer_totals           2  20000  3.2 MiB          1       39000         8s

DEAD LETTERS  UNRESOLVED  OLDEST  DELETED IN
orders-dlq            31  19h04m       29d4h
"""

AT_80 = """\
◣ CLIFF  order-processor w-1  1 of 1 partitions restoring (5): 61 % done, 8s
left
↗ FALLING_BEHIND  order-processor w-0  1 of 2 partitions falling behind (3);
oldest unread 12m30s; loss in 5d22h; 5 workers needed, 2 run
08:00:00Z  w-0 1.4.0 ready  w-1 1.4.0 not ready: restoring customer_totals/5
not answering: http://w-2:6066: [Errno 111] Connection refused
orders/5 restoring, 61 % done, 8s left

PARTITION    LAG  30 MIN           AGE  GROWTH  DRAIN   LOSS  STATUS
orders/5    4100  -                42s       -      -      -  ◣ CLIFF
orders/3   90000  ▅▆▆▆▆▇▇▇▇███  12m30s   +20/s      -  5d22h  ↗ FALLING_BEHIND
orders/0       0  ▁▁▁▁▁▁▁▁▁▁▁▁       -     0/s      -  never  ● OK

AGENT            PROCESSED  BUSY   P99  IN HAND  RETRIES  DEAD LETTERS  BREAKERS
order_processor     812000  93 %  41ms        1       12             7  closed

TRANSACTIONS  COMMITTED  ABORTED  REBUILT   OPEN  COMMIT P99  REBALANCES
w-0               41233        3        1  120ms        20ms           2
w-1                   0        0        0      -           -           1

TABLE            PARTITIONS   KEYS    BYTES  RESTORING  TO RESTORE  TIME LEFT
customer_totals           2  20000  3.2 MiB          1       39000         8s

DEAD LETTERS  UNRESOLVED  OLDEST  DELETED IN
orders-dlq            31  19h04m       29d4h
"""


@pytest.mark.parametrize(("width", "golden"), [(140, AT_140), (80, AT_80)])
def test_two_workers_and_one_that_does_not_answer(width: int, golden: str) -> None:
    assert shown(*heard(document(), restoring()), SILENT, width=width) == golden


@pytest.mark.parametrize("width", [20, 40, 80, 100, 140, 200])
@pytest.mark.parametrize("height", [5, 12, 18, 24, 50])
def test_no_screen_is_larger_than_its_terminal(width: int, height: int) -> None:
    many = document(
        partitions=tuple(partition(number) for number in range(100)), agents=tuple(agent(name=f"agent_{n}") for n in range(20))
    )
    lines = screen([*heard(many), SILENT], width=width, height=height, now=NOW)
    assert len(lines) <= height
    assert [line.plain for line in lines if len(line) > width] == []


def test_where_there_is_little_room_the_longest_part_gives_way_first_and_says_so() -> None:
    agents = tuple(agent(name=f"agent_{number}") for number in range(6))
    many = document(partitions=(behind(), *(partition(number) for number in range(10, 60))), agents=agents)
    told = shown(*heard(many), height=35)
    assert told.count("\n") == 35
    assert "orders/3 " in told
    assert [line for line in told.splitlines() if line.startswith("…")] == ["… 40 more"]
    assert all(each.name in told for each in agents), "the shorter parts are there whole"
    assert "orders-dlq" in told


def test_the_verdict_stays_on_the_smallest_screen() -> None:
    assert shown(*heard(document()), height=3).startswith("↗ FALLING_BEHIND  order-processor  1 of 2 partitions")


def test_the_next_command_stands_under_the_worst_partition() -> None:
    assert (
        "\norders/3 falling behind by 20/s (16…24); oldest unread 12m30s; loss in 5d22h\nnext streamapp lag --partition 3\n"
        in shown(*heard(document()))
    )


def test_nothing_is_to_be_done_where_all_is_well() -> None:
    fine = GroupStatus(group="order-processor", status="OK", sentence="nothing unread", partitions=1, workers=1, workers_needed=1, workers_capped=False)  # fmt: skip
    assert "next" not in shown(*heard(document(group=fine, partitions=(partition(0),))))


def test_a_partition_is_told_by_its_owner_and_stands_there_once() -> None:
    stale = document("w-1", at=NOW + 5, partitions=(partition(3, owner="w-0", state=None, status="UNKNOWN", lag=None),))
    (row,) = partitions_of([document(partitions=(behind(),)), stale])
    assert (row.status, row.lag) == ("FALLING_BEHIND", 90_000)


def test_of_two_that_do_not_own_a_partition_the_newer_tells_it() -> None:
    rows = [document(f"w-{n}", at=NOW + n, partitions=(partition(3, state=None, lag=n),)) for n in (0, 2, 1)]
    assert [row.lag for row in partitions_of(rows)] == [2]


def test_the_worst_partition_stands_first() -> None:
    every = tuple(partition(number, status=status.value) for number, status in enumerate(reversed(Status)))
    assert [row.status for row in partitions_of([document(partitions=every)])] == [status.value for status in Status]


def test_a_status_of_a_later_version_is_as_good_as_unknown() -> None:
    assert "? MELTING" in shown(*heard(document(partitions=(partition(0, status="MELTING"),))))


def test_one_worker_that_knows_all_speaks_for_the_group() -> None:
    told = shown(*heard(document(only_this_worker=False), restoring()))
    assert told.startswith("↗ FALLING_BEHIND  order-processor  1 of 2")
    assert "◣ CLIFF  order-processor" not in told


def test_a_peer_that_a_worker_cannot_reach_is_named() -> None:
    assert "not answering: http://w-9:6066\n" in shown(*heard(document(unreachable=("http://w-9:6066",))))


def test_nobody_answers() -> None:
    assert shown(SILENT) == "08:00:00Z\nnot answering: http://w-2:6066: [Errno 111] Connection refused\n"


def test_what_is_unknown_is_a_dash_and_never_is_a_word() -> None:
    row = partition(0, lag=None, produced_rate=None, consumed_rate=None, growth=None, commit_age=None, loss_never=False, owner=None, owner_known=False)  # fmt: skip
    (line,) = [
        line for line in shown(*heard(document(partitions=(row,)))).splitlines() if line.startswith("orders/0 ") and "●" in line
    ]
    assert line.split() == ["orders/0", *["-"] * 10, "●", "OK"]
    nobody = partition(0, owner=None)
    assert "nobody" in shown(*heard(document(partitions=(nobody,))))


def test_a_drain_has_its_bounds_where_there_is_room() -> None:
    drains = document(partitions=(partition(0, status="CATCHING_UP", drain=Bounds(estimate=2250, low=1875, high=2812)),))
    assert "37m30s (31m15s…46m52s)" in shown(*heard(drains))
    assert " 37m30s " in shown(*heard(drains), width=80)
    assert "31m15s" not in shown(*heard(drains), width=80)


def test_agents_are_summed_over_workers_and_their_worst_is_shown() -> None:
    slow = document("w-1", agents=(agent(processed=1000, in_hand=2, p99=2.5, busy=0.5, breakers=()),))
    (line,) = [line for line in shown(*heard(document(), slow)).splitlines() if line.startswith("order_processor ")]
    assert line.split() == ["order_processor", "orders", "813000", "93", "%", "4ms", "2.5s", "3", "24", "14", "closed"]


@pytest.mark.parametrize(
    ("lags", "bars"),
    [
        (None, "-"),
        ([], "-"),
        ([0] * 180, BARS[0] * TREND),
        ([*range(24)], "▁▂▃▃▄▄▅▆▆▇▇█"),
        ([None] * 90 + [8] * 90, " " * 6 + "█" * 6),
        ([1, 0, 8], "▂▁█"),
    ],
)
def test_a_trend_has_its_peak_as_a_full_bar_and_a_blank_where_nothing_is_known(lags: list[int | None] | None, bars: str) -> None:
    assert trend(None if lags is None else history(lags)) == bars
