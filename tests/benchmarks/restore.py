"""Restore speed: changelog records a second into RocksDB, and how long the main thread had to wait meanwhile.

    python -m tests.benchmarks.restore --records 2000000 --partitions 4 [--broker host:port] [--memory]

Starts a broker of its own unless one is named. Prints one line per run; the second run of each finds the stores current. Keys come in no
order, as ids do: sorted ones, which RocksDB takes fastest, would flatter.
"""

from __future__ import annotations

import argparse
import os
import queue
import tempfile
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

from streamapp.broker import Broker, BrokerConfig
from streamapp.kafka.changelog import KafkaChangelogReader
from streamapp.ports import ChangelogReader
from streamapp.records import Partition
from streamapp.state.budget import RocksBudget
from streamapp.state.memory import MemoryStores
from streamapp.state.recovery import Restorer
from streamapp.state.restore import RestoreOutcome, RestoreTask
from streamapp.state.rocksdb import RocksStores
from streamapp.state.stores import Stores
from tests.benchmarks.growth_run import PATIENCE, fill
from tests.support.changelog_bench import READER
from tests.support.evidence import Scenario, keep
from tests.support.topics import Countdown, TookTooLong, create_topic


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=2_000_000)
    arguments.add_argument("--partitions", type=int, default=4)
    arguments.add_argument("--broker")
    arguments.add_argument("--memory", action="store_true", help="into memory, to tell RocksDB's share")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if given.broker:
            measure(given.broker, Path(directory), given)
        else:
            with Broker(BrokerConfig(data_dir=Path(directory) / "broker", port=0), die_with_parent=True) as broker:
                measure(broker.address, Path(directory), given)


def measure(bootstrap: str, directory: Path, given: argparse.Namespace) -> dict[str, str | int | float]:
    """Fill a changelog, restore it twice, and return what the first took."""
    topic = f"restore-{uuid4().hex[:8]}"
    create_topic(bootstrap, topic, given.partitions, {"cleanup.policy": "compact"})
    fill(bootstrap, topic, given.records, given.partitions)
    budget = RocksBudget()
    budget.expect(given.partitions)
    stores = Stores("bench", MemoryStores() if given.memory else RocksStores(directory, budget))

    def reader() -> ChangelogReader:
        shared = READER | {"bootstrap.servers": bootstrap, "group.id": topic}
        return KafkaChangelogReader(shared, shared | {"isolation.level": "read_uncommitted"})

    restorer = Restorer(reader)
    restorer.start()
    speed = run("whole", restorer, stores, topic, given.partitions)
    run("current already", restorer, stores, topic, given.partitions)
    command = f"python -m tests.benchmarks.restore --records {given.records} --partitions {given.partitions}"
    keep(Scenario(name="restore, at full speed", command=command, figures=speed))
    restorer.stop()
    stores.close_all()
    return speed


def run(name: str, restorer: Restorer, stores: Stores, topic: str, partitions: int) -> dict[str, str | int | float]:
    """Restore all partitions; return what that took."""
    load = os.getloadavg()[0]
    outcomes: queue.Queue[RestoreOutcome] = queue.Queue()
    began, used = time.perf_counter(), time.process_time()
    for number in range(partitions):
        task = RestoreTask(
            changelog=Partition(topic, number),
            open=partial(stores.open, "table", number, "id"),
            delete_retention=86_400.0,
        )
        restorer.restore(task, outcomes.put)
    longest, last = 0.0, time.perf_counter()
    countdown = Countdown(PATIENCE)
    while outcomes.qsize() < partitions:
        if countdown.over:
            raise TookTooLong(f"{topic} not restored: {restorer.progress()}")
        time.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last - 0.001), time.perf_counter()
    took, used = time.perf_counter() - began, time.process_time() - used
    records = sum(outcomes.get().restored for _ in range(partitions))
    each = f", {used / records * 1e6:.2f} CPU µs each" if records else ""
    print(
        f"{name}: {records} records in {took:.3f} s, {records / took:.0f}/s{each}; main thread waited {longest * 1000:.1f} ms at most; "
        f"load average {load:.1f}"
    )
    return {
        "changelog records": records,
        "records/s": round(records / took),
        "CPU µs a record": round(used / records * 1e6, 2) if records else 0,
        "load average of the machine, of all it did": round(load, 1),
    }


if __name__ == "__main__":
    main()
