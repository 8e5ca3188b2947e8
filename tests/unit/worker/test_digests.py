"""A worker tells the digest of a table partition it has, one at a time, and says when it has it no more or has enough to do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from streamapp import StreamApp
from streamapp.assembly import web_address
from streamapp.digest import digest_of
from streamapp.errors import StoreCorrupted
from streamapp.identity import DataDir
from streamapp.ports import Frozen
from streamapp.settings import load
from streamapp.state.memory import MemoryStore
from streamapp.worker import digests
from streamapp.worker.digests import HeldTable, TableDigests, TableList
from tests.unit.worker.shop import new_app

ROWS = {b'"ann"': b"1", b'"bob"': b"2"}


class Engine:
    """What the shell asks of a running engine."""

    def __init__(self, *held: HeldTable) -> None:
        self.held = list(held)

    def held_tables(self) -> list[HeldTable]:
        return self.held


class Answers:
    """Stands where Faust's web server makes answers."""

    def json(self, value: object, *, status: int = 200, **options: object) -> tuple[int, Any]:
        return status, value


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.apply(dict(ROWS), 7)
    return store


@pytest.fixture
def running(app: StreamApp, store: MemoryStore) -> StreamApp:
    app.engine_started(cast("Any", Engine(HeldTable("totals", 3, "shop-totals-changelog", store))))
    return app


async def asked(app: StreamApp, table: str = "totals", partition: str = "3") -> tuple[int, dict[str, Any]]:
    view = TableDigests(app, cast("Any", Answers()))
    return cast("tuple[int, dict[str, Any]]", await view.get(cast("Any", None), table, partition))


async def test_the_tables_that_are_here_are_listed_with_whose_they_are(running: StreamApp) -> None:
    code, answer = cast("Any", await TableList(running, cast("Any", Answers())).get(cast("Any", None)))
    assert code == 200
    assert answer["app_id"] == "shop"
    assert answer["tables"] == [{"table": "totals", "partition": 3, "changelog": "shop-totals-changelog"}]


async def test_a_worker_that_has_not_started_has_none(app: StreamApp) -> None:
    assert app.held_tables() == []


async def test_a_digest_is_told_with_its_offset_and_no_value(running: StreamApp) -> None:
    code, answer = await asked(running)
    expected = digest_of(sorted(ROWS.items()))
    assert (code, answer) == (
        200,
        {
            "table": "totals", "partition": 3, "changelog": "shop-totals-changelog",
            "offset": 7, "keys": 2, "digest": expected.digest,
        },
    )  # fmt: skip


@pytest.mark.parametrize(("table", "partition"), [("totals", "4"), ("other", "3"), ("totals", "three")])
async def test_what_is_not_here_is_not_found(running: StreamApp, table: str, partition: str) -> None:
    assert (await asked(running, table, partition))[0] == 404


async def test_a_partition_that_goes_away_meanwhile_is_said_to(running: StreamApp, store: MemoryStore) -> None:
    store.close()
    assert (await asked(running))[0] == 409


async def test_a_store_that_is_broken_is_told(running: StreamApp, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise StoreCorrupted("a block fails its checksum")

    monkeypatch.setattr(store, "frozen", broken)
    assert await asked(running) == (500, {"error": "a block fails its checksum"})


async def test_one_digest_is_computed_at_a_time_off_the_loop_and_more_than_a_few_are_refused(
    app: StreamApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most, goes_on = 0, 0, threading.Event()
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    class Slow(MemoryStore):
        @contextmanager
        def frozen(self) -> Iterator[Frozen]:  # type: ignore[override]
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            loop.call_soon_threadsafe(begun.set)
            assert goes_on.wait(30)
            with super().frozen() as frozen:
                yield frozen
            at_once -= 1

    app.engine_started(cast("Any", Engine(HeldTable("totals", 3, "shop-totals-changelog", Slow()))))
    asking = [asyncio.ensure_future(asked(app)) for _ in range(digests.WAITING + 1)]
    await begun.wait()  # the loop turns while the first is computed
    assert (await asked(app))[0] == 503
    goes_on.set()
    assert [code for code, _ in await asyncio.gather(*asking)] == [200] * (digests.WAITING + 1)
    assert most == 1


@pytest.mark.parametrize(
    ("bind", "port", "address"),
    [
        ("127.0.0.1", 6070, "http://127.0.0.1:6070"),
        ("0.0.0.0", 6070, "http://127.0.0.1:6070"),
        ("::", 6070, "http://[::1]:6070"),
        ("::1", 6070, "http://[::1]:6070"),
        ("worker-1", 6070, "http://worker-1:6070"),
        ("127.0.0.1", 0, ""),
    ],
)
def test_a_worker_leaves_an_address_that_this_machine_reaches(bind: str, port: int, address: str) -> None:
    assert web_address(new_app(web_bind=bind, web_port=port)) == address


def test_the_address_is_kept_in_the_data_directory_and_goes_when_there_is_none(tmp_path: Path) -> None:
    with DataDir.open(load({"app_id": "shop", "data_dir": str(tmp_path)}, {}, {}).identity) as directory:
        directory.announce("http://127.0.0.1:6070")
        assert (tmp_path / "web").read_text().strip() == "http://127.0.0.1:6070"
        directory.announce("")
        assert (tmp_path / "web").read_text().strip() == ""
