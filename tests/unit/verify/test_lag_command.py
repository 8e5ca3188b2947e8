"""`streamapp lag`: its options, its exit codes, how long it waits, and that it goes on while no broker answers."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from streamapp.cli import main
from streamapp.errors import BrokerUnreachable
from streamapp.monitor.lag.inputs import Sample
from streamapp.records import Partition
from streamapp.verify.lag_watch import Board, LagWatch
from tests.support.lag_documents import asked, member, reading
from tests.support.lag_series import CONFIG, NOW, sample

COMMAND = importlib.import_module("streamapp.cli.lag")
"""The module; in its package, the command has the name."""
NOWHERE = "127.0.0.1:1"
APP = f"""
from streamapp import StreamApp

app = StreamApp("shop", broker="kafka://{NOWHERE}")
sales = app.topic("sales", value_type=int, partitions=2)


@app.agent(sales)
async def add_up(stream):
    async for amount in stream:
        pass
"""
DONE = sample(NOW, 100, 100)
UNREAD = sample(NOW, 60, 100, oldest_unread=NOW - 60)


def board(*samples: Sample) -> Board:
    places = {Partition("sales", number): asked(each) for number, each in enumerate(samples)}
    return LagWatch(CONFIG).look(reading(places, [member("w-1")]), [])


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with an app, nothing from outside, and no broker."""
    for name in list(os.environ):
        if name.startswith("STREAMAPP_"):
            monkeypatch.delenv(name)
    (tmp_path / "shop_that_lags.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("shop_that_lags", None)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Board | BrokerUnreachable]:
    """What the next looks come to; after the last of them, each comes to that."""
    coming: list[Board | BrokerUnreachable] = []

    def look(desk: object) -> Board:
        found = coming.pop(0) if len(coming) > 1 else coming[0]
        if isinstance(found, BrokerUnreachable):
            raise found
        return found

    monkeypatch.setattr(COMMAND._Desk, "look", look)
    passed: list[float] = []
    clock = SimpleNamespace(sleep=passed.append, monotonic=lambda: sum(passed), time=lambda: NOW)
    monkeypatch.setattr(COMMAND, "time", clock)
    return coming


def lag(*options: str) -> Result:
    return CliRunner().invoke(main, ["lag", "-A", "shop_that_lags", "--timeout", "0.3", *options])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--sort", "name"], "'name' is not one of 'loss', 'lag', 'age'"),
        (["--wait", "soon"], "soon: must be 0.1 s to 30 d, as in 90, 90s, 10m or 1h30m"),
        (["--wait", "0"], "0: must be"),
        (["--watch", "31d"], "31d: must be"),
        (["--partition", "-1"], "--partition"),
    ],
)
def test_options_that_cannot_be_are_refused(options: list[str], told: str) -> None:
    result = lag(*options)
    assert (result.exit_code, told in result.output) == (2, True), result.output


def test_no_broker_is_exit_code_3_and_one_line() -> None:
    result = lag()
    assert (result.exit_code, NOWHERE in result.output, len(result.output.strip().splitlines())) == (3, True, 1), result.output


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--exit-code"], 1),
        (["--exit-code", "--partition", "0"], 0),
        (["--exit-code", "--partition", "1"], 1),
        (["--partition", "2"], 4),
        (["--wait", "0.1"], 1),
        (["--wait", "0.1", "--partition", "0"], 0),
    ],
)
def test_exit_codes(looks: list[Board | BrokerUnreachable], options: Sequence[str], code: int) -> None:
    looks.append(board(DONE, UNREAD))
    result = lag(*options)
    assert result.exit_code == code, result.output


def test_a_wait_ends_when_nothing_is_unread_and_says_how_it_goes(looks: list[Board | BrokerUnreachable]) -> None:
    looks += [board(DONE, UNREAD), BrokerUnreachable("no answer"), board(DONE, UNREAD), board(DONE, DONE), board(UNREAD)]
    result = lag("--wait", "10m")
    assert result.exit_code == 0, result.output
    said = result.stderr.splitlines()
    assert [line.partition(",")[0] for line in said] == [
        "UNKNOWN: 40 unread", "streamapp: no answer", "UNKNOWN: 40 unread", "UNKNOWN: 40 unread",
    ]  # fmt: skip
    assert said[0].endswith("of 10m")
    assert "sales\t0\t100" in result.stdout


def test_a_rollout_gate_waits_until_all_is_well_though_records_come_all_the_time(looks: list[Board | BrokerUnreachable]) -> None:
    busy = sample(NOW, 99, 100, oldest_unread=NOW - 1)
    looks += [board(UNREAD), board(busy)]
    assert lag("--exit-code", "--wait", "10m").exit_code == 0
    looks[:] = [board(busy)]
    assert lag("--wait", "0.1").exit_code == 1


def test_only_lag_leaves_out_what_is_done_and_keeps_what_is_unknown(looks: list[Board | BrokerUnreachable]) -> None:
    looks.append(board(DONE, UNREAD, sample(NOW, 5, None)))
    rows = lag("--only-lag").stdout.splitlines()[1:]
    assert [row.split("\t")[1] for row in rows] == ["1", "2"]


def test_a_watch_looks_again_until_it_is_interrupted(
    looks: list[Board | BrokerUnreachable], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks += [board(UNREAD), board(DONE)]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(COMMAND, "time", SimpleNamespace(sleep=sleep))
    result = lag("--watch", "5s")
    assert (result.exit_code, waits) == (130, [5.0, 5.0, 5.0])
    assert [row.split("\t")[4] for row in result.stdout.splitlines() if row.startswith("sales")] == ["40", "0", "0"]
    waits.clear()
    lag("--watch")
    assert waits == [10.0] * 3
