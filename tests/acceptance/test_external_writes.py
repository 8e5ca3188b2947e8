"""docs/external-writes.md works as it is written: rows written from an agent are there once, whatever kills its worker.

Its blocks are the reader's files; the worker dies after it has written to a real PostgreSQL and before it commits to Kafka.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Producer

from tests.support.documents import blocks, text_of
from tests.support.own_project import QUICK, documents
from tests.support.postgres import Postgres
from tests.support.topic_reader import caught_up, read_topics
from tests.support.topics import create_topic, delete_topics, wait_until
from tests.support.workers import Worker, Workers

BLOCKS = blocks(text_of("docs/external-writes.md"))
BIN = Path(sys.executable).parent
SOURCES = ("payments", "transfers", "addresses", "readings")
PAYMENTS = [("ann", 500), ("bob", 20), ("ann", -70), ("zoe", 1)] * 5
STARTS_A_WORKER = "faust -A bookings worker -l info"


def block(name: str) -> str:
    """Return all that the page has under that name, one behind the other as the reader types it in."""
    return "\n".join(each.body for each in BLOCKS if each.name == name)


@dataclass(slots=True)
class Bookings:
    """The page's app, its topics and its tables, all empty at first."""

    bootstrap: str
    postgres: Postgres
    folder: Path
    app_id: str
    workers: Workers
    env: dict[str, str]

    def feed(self, topic: str, *records: tuple[str, Any], timestamp: float | None = None, headers: Any = None) -> None:
        """Write (key, value) into partition 0, so that offsets are counted by the order."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 0})
        milliseconds = int((timestamp or time.time()) * 1000)
        for key, value in records:
            producer.produce(topic, json.dumps(value).encode(), key, 0, timestamp=milliseconds, headers=headers or [])
        assert producer.flush(30) == 0

    def feed_payments(self) -> None:
        self.feed("payments", *((account, {"account": account, "cents": cents}) for account, cents in PAYMENTS))

    def die_having_written(self, **rows: int) -> None:
        """Live until the tables have so many rows, and be killed before anything is committed to Kafka."""
        # The longest interval there is: the kill comes within it. Nor may the start of a partition be counted, which is a commit.
        worker = self.workers.start("w1", web=True, STREAMAPP_COMMIT_INTERVAL="10", STREAMAPP_ISOLATE_AFTER="0")
        wait_until(lambda: self.postgres.counts(*rows) == rows, deadline=60, why=worker.tail)
        assert worker.kill() == -9
        assert self.receipts() == [], "nothing of it is to be seen in Kafka"

    def start(self) -> Worker:
        worker = self.workers.start("w1", web=True)
        worker.ready()
        return worker

    def finish(self, *topics: str) -> None:
        """Live until nothing is left to read, and stop."""
        worker = self.start()
        caught_up(self.bootstrap, self.app_id, topics=topics)
        assert worker.stop() == 0, worker.tail()

    def receipts(self) -> list[Any]:
        lanes = read_topics(self.bootstrap, ["receipts"])["receipts"]
        return sorted(document for lane in lanes.values() for document in documents(lane))

    def typed(self, command: str) -> str:
        """Run a line of the page as its reader would, and return what it said."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_"))}
        done = subprocess.run(
            ["bash", "-ec", command], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
            env={**outside, **self.env, "PATH": f"{BIN}:{self.postgres.programs}:{outside['PATH']}"},
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def bookings(bootstrap: str, postgres: Postgres, tmp_path: Path) -> Iterator[Bookings]:
    for name in ("bookings.py", "bookings.sql"):
        (tmp_path / name).write_text(block(name))
    delete_topics(bootstrap, [*SOURCES, "receipts", *(f"{topic}-dlq" for topic in SOURCES)])
    for topic in SOURCES:
        create_topic(bootstrap, topic, 2)
    command = [str(BIN / "faust"), *STARTS_A_WORKER.split()[1:]]
    app_id = f"bookings-{uuid4().hex[:8]}"
    env = {**QUICK, "DATABASE_URL": postgres.url, "STREAMAPP_BROKER": bootstrap, "STREAMAPP_APP_ID": app_id}
    with Workers(bootstrap, tmp_path / "workers", command=command, cwd=tmp_path, **env) as workers:  # type: ignore[arg-type]  # variables only
        yield Bookings(bootstrap, postgres, tmp_path, app_id, workers, env)
        print(workers.tails())


@pytest.fixture(autouse=True)
def _empty_database(postgres: Postgres) -> None:
    """Leave nothing of an earlier test there."""
    postgres.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def test_rows_that_were_written_before_a_kill_are_there_once_after_it(bookings: Bookings, postgres: Postgres) -> None:
    postgres.run(block("bookings.sql"))
    bookings.feed_payments()
    bookings.feed("transfers", *(("ann", {"source": "ann", "target": "bob", "cents": cents}) for cents in (5, 7)))
    bookings.feed("addresses", ("ann", "Old Street 1"), ("ann", "New Street 2"))
    bookings.feed("readings", *(("cellar", {"sensor": "cellar", "celsius": celsius}) for celsius in (11.5, 12.0, 12.5)))

    bookings.die_having_written(bookings=len(PAYMENTS) + 4, addresses=1, readings=3)
    bookings.finish(*SOURCES)

    paid = [(f"payments-0-{at}", account, cents) for at, (account, cents) in enumerate(PAYMENTS)]
    moved = [("transfers-0-0-1", "ann", -5), ("transfers-0-0-2", "bob", 5), ("transfers-0-1-1", "ann", -7), ("transfers-0-1-2", "bob", 7)]  # fmt: skip
    assert sorted(postgres.rows("SELECT id, account, cents FROM bookings")) == sorted([*paid, *moved])
    assert bookings.receipts() == sorted([key, cents] for key, _, cents in paid)
    assert postgres.rows("SELECT customer, address FROM addresses") == [("ann", "New Street 2")]
    assert sorted(postgres.rows("SELECT id, celsius FROM readings")) == [
        ("readings-0-0", 11.5), ("readings-0-1", 12.0), ("readings-0-2", 12.5),
    ]  # fmt: skip


def test_plain_inserts_are_doubled_by_the_same_kill(bookings: Bookings, postgres: Postgres) -> None:
    """The control: it is the upsert that does it."""
    postgres.run("CREATE TABLE journal (id text, account text, cents bigint)")
    with (bookings.folder / "bookings.py").open("a") as module:
        module.write(block("plain_insert"))
    bookings.feed_payments()
    bookings.die_having_written(journal=len(PAYMENTS))
    bookings.finish("payments")
    assert postgres.rows("SELECT count(*), count(DISTINCT id) FROM journal") == [(2 * len(PAYMENTS), len(PAYMENTS))]
    assert len(bookings.receipts()) == len(PAYMENTS), "Kafka's side is right all the same"


def test_a_replayed_dead_letter_writes_the_row_of_the_record_that_failed(bookings: Bookings, postgres: Postgres) -> None:
    postgres.run(block("bookings.sql"))
    bookings.feed_payments()
    bookings.feed("addresses", ("ann", "New Street 2"))
    replayed = [("streamapp.dlq.replay-of", b"payments/0/3@book")]
    bookings.feed("payments", ("zoe", {"account": "zoe", "cents": 100}), headers=replayed)
    replayed = [("streamapp.dlq.replay-of", b"addresses/0/0@keep_address")]
    bookings.feed("addresses", ("ann", "Old Street 1"), timestamp=time.time() - 60, headers=replayed)
    bookings.finish("payments", "addresses")
    assert postgres.rows("SELECT account, cents FROM bookings WHERE id = 'payments-0-3'") == [("zoe", 100)]
    assert postgres.rows("SELECT count(*) FROM bookings") == [(len(PAYMENTS),)]
    assert postgres.rows("SELECT address FROM addresses") == [("New Street 2",)], "an older address does not come back"


def test_the_commands_of_the_page_book_a_payment(bookings: Bookings, postgres: Postgres) -> None:
    setup, use = (each.body.splitlines() for each in BLOCKS if each.language == "sh")
    makes_tables, starts_a_worker = setup
    assert starts_a_worker == STARTS_A_WORKER
    bookings.typed(makes_tables)
    worker = bookings.start()
    pays, shows = use
    bookings.typed(pays)
    caught_up(bookings.bootstrap, bookings.app_id, topics=["payments"])
    assert "ann     |   500" in bookings.typed(shows)
    assert worker.stop() == 0, worker.tail()


async def test_a_balance_moves_by_what_the_row_has_changed(postgres: Postgres) -> None:
    postgres.run(block("bookings.sql"))
    book_and_sum = run_block("balances.py")["book_and_sum"]
    async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
        for key, account, cents in [("p-0-0", "ann", 500), ("p-0-0", "ann", 500), ("p-0-1", "ann", 20), ("p-0-0", "ann", 400)]:
            await book_and_sum(connection, key, account, cents)
        assert await balances(connection) == {"ann": 420}
        await book_and_sum(connection, "p-0-1", "bob", 25)
        assert await balances(connection) == {"ann": 400, "bob": 25}


async def test_two_who_look_first_both_insert(postgres: Postgres) -> None:
    """Why the page advises against it: the zombie and the new owner of its partition look before either has written."""
    postgres.run("CREATE TABLE journal (id text, account text, cents bigint)")
    look_first = run_block("look_first")["book_unless_there"]
    barrier = asyncio.Barrier(2)

    async def one() -> None:
        async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
            await look_first(_MeetsBehindItsLook(connection, barrier), "p-0-0", "ann", 500)

    async with asyncio.timeout(30):
        await asyncio.gather(one(), one())
    assert postgres.rows("SELECT id FROM journal") == [("p-0-0",)] * 2


class _MeetsBehindItsLook:
    """A connection whose SELECTs return when the other one's have been made, too."""

    def __init__(self, connection: psycopg.AsyncConnection, barrier: asyncio.Barrier) -> None:
        self._connection, self._barrier = connection, barrier

    async def execute(self, query: str, values: tuple[Any, ...]) -> psycopg.AsyncCursor:
        done = await self._connection.execute(query.encode(), values)
        if query.startswith("SELECT"):
            await self._barrier.wait()
        return done


async def balances(connection: psycopg.AsyncConnection) -> dict[str, int]:
    cursor = await connection.execute("SELECT account, cents FROM balances")
    return dict(await cursor.fetchall())


def run_block(name: str) -> dict[str, Any]:
    """Return what a block of the page defines."""
    names: dict[str, Any] = {}
    exec(compile(block(name), name, "exec"), names)
    return names


def test_every_block_of_the_page_is_run_here() -> None:
    named = {"bookings.py", "bookings.sql", "balances.py", "plain_insert", "look_first"}
    assert {each.name for each in BLOCKS if each.language != "sh"} == named
