"""Write down what this version's order processor leaves on disk and in changelogs, for later versions to be tried on.

    python -m tests.support.format_fixture

Run it once per release whose stores or changelogs differ from those of the one before; a file that is there is never written again.
Starts a broker and a worker of its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import msgspec

from streamapp.broker import Broker, BrokerConfig
from streamapp.state.identity import FORMAT
from tests.support.order_jobs import OrderJob
from tests.support.orders import OrderPlan
from tests.support.topic_reader import read_topics

KEPT: Final = Path(__file__).parents[1] / "integration" / "recovery" / "formats"
TABLES: Final = ("customer_totals", "processed_orders", "sku_totals", "dead_letters")
APP: Final = "written"
NOT_CONTENT: Final = ("LOG", "LOCK", "rocksdict-config.json.bak")


class Row(msgspec.Struct, frozen=True):
    """A changelog record."""

    offset: int
    key: bytes
    value: bytes | None


class Written(msgspec.Struct, frozen=True):
    """One table partition: its closed store, file by file, and its changelog."""

    app_id: str
    table: str
    partition: int
    changelog_id: str
    changelog_offset: int
    files: dict[str, bytes]
    changelog: list[Row]

    @property
    def rows(self) -> dict[bytes, bytes]:
        """What store and changelog both hold."""
        found = {row.key: row.value for row in self.changelog}
        return {key: value for key, value in found.items() if value is not None}

    def unpack(self, data_dir: Path) -> None:
        """Put the store where a worker looks for it."""
        directory = data_dir / "tables" / self.table / str(self.partition)
        directory.mkdir(parents=True)
        for name, content in self.files.items():
            (directory / name).write_bytes(content)


def load(written_format: int) -> dict[str, Written]:
    """Return what was written in that format, by table."""
    found = msgspec.json.decode((KEPT / f"format-{written_format}.json").read_bytes(), type=list[Written])
    return {each.table: each for each in found}


def main() -> None:
    target = KEPT / f"format-{FORMAT}.json"
    assert not target.exists(), f"{target} is what an earlier version wrote"
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        with (
            Broker(BrokerConfig(data_dir=home / "broker", port=0), die_with_parent=True) as broker,
            OrderJob(broker.address, home / "workers", APP) as job,
        ):
            worker = job.start("w1")
            job.feed_these(list(OrderPlan(count=100, seed=1, customers=12).records()))
            job.finish()
            written = [_taken(broker.address, worker.data_dir, table) for table in TABLES]
    KEPT.mkdir(exist_ok=True)
    target.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n")


def _taken(bootstrap: str, data_dir: Path, table: str) -> Written:
    """Return the partition of `table` that has most changelog records."""
    topic = f"{APP}-{table}-changelog"
    lanes = read_topics(bootstrap, [topic])[topic]
    number = max(lanes, key=lambda at: len(lanes[at]))
    store = data_dir / "tables" / table / str(number)
    files = {path.name: path.read_bytes() for path in sorted(store.iterdir()) if not path.name.startswith(NOT_CONTENT)}
    changelog_id, offset = _signature(data_dir, table, number)
    rows = [Row(rec.offset, rec.key or b"", rec.value) for rec in lanes[number]]
    return Written(APP, table, number, changelog_id, offset, files, rows)


def _signature(data_dir: Path, table: str, number: int) -> tuple[str, int]:
    from rocksdict import AccessType, Options, Rdict

    from streamapp.state.frozen import IDENTITY, POSITION, POSITION_FORM

    directory = str(data_dir / "tables" / table / str(number))
    database = Rdict(directory, Options(raw_mode=True), access_type=AccessType.read_only())
    identity, position = database[IDENTITY], database[POSITION]
    database.close()
    assert identity is not None and position is not None, f"{directory} is not signed"
    return msgspec.json.decode(identity)["changelog_id"], POSITION_FORM.unpack(position)[0]


if __name__ == "__main__":
    main()
