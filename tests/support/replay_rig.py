"""Dead letters on a real broker, the commands on them, and a worker played by the test: it reads copies and writes rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from streamapp.cli import main
from streamapp.pipeline.dead_letter import DeadLetterTopic, Failure, Writer, bury
from streamapp.pipeline.resolution import Job, Lock, Resolution, Row, Status, Take, decode, encode
from streamapp.records import Headers, Partition
from streamapp.testing.memory_kafka import MemoryRecord
from tests.support.kafka_records import Rec
from tests.support.topic_reader import read_topics, rec_of
from tests.support.topics import PATIENCE, bare_consumer, create_topic, wait_until
from tests.support.workers import BOUND_TO_US, ROOT

STREAMAPP: Final = Path(sys.executable).with_name("streamapp")
REPLAY_OF: Final = "streamapp.dlq.replay-of"
AGENT: Final = "price"

APP: Final = """
import msgspec
from streamapp import StreamApp


class Order(msgspec.Struct):
    n: int


app = StreamApp("{app_id}")
seen = app.dedupe_table("seen", horizon=604800)


@app.agent(app.topic("{source}", key_type=str, value_type=Order, partitions=2), name="price", dedupe=seen.by(lambda order: str(order.n)))
async def price(stream):
    async for order in stream:
        pass


def mend(key, value, headers):
    return key, value.replace(b':"', b":").replace(b'"}}', b"}}"), headers


def spoil(key, value, headers):
    return key, b'{{"n":"x"}}', headers
"""


@dataclass
class ReplayRig:
    """An app of the test's own with its topics and its folder; nothing of it runs."""

    bootstrap: str
    home: Path
    app_id: str = field(default_factory=lambda: f"shop-{uuid4().hex[:8]}")
    made: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source, self.dlq = f"{self.app_id}-orders", f"{self.app_id}-orders-dlq"
        self.status = f"{self.app_id}-dlq-status"
        self.module = self.app_id.replace("-", "_")
        (self.home / f"{self.module}.py").write_text(APP.format(app_id=self.app_id, source=self.source))
        for topic, count in ((self.source, 2), (self.dlq, 2), (self.status, 1)):
            create_topic(self.bootstrap, topic, count)

    # --- dead letters

    def bury(self, count: int, *, keys: int = 0, value: Callable[[int], bytes] | None = None, max_bytes: int | None = None,
             replays: int = 0) -> list[str]:  # fmt: skip
        """Have `count` records in the source that failed, and return the ids of their letters. `keys` 0: a key for each record."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, "log_level": 0})
        starts = {number: len(lane) for number, lane in read_topics(self.bootstrap, [self.source])[self.source].items()}
        writer = Writer(app=self.app_id, group=self.app_id, worker="w-1", version="1", transactional_id="x")
        topic = DeadLetterTopic(name=self.dlq, partitions=2, max_bytes=max_bytes)
        ids = []
        for n in range(count):
            number, at = n % 2, round(time.time() * 1000) - 5000
            key, data = b"k%d" % (n % keys if keys else n), value(n) if value else b'{"n":%d}' % n
            headers: Headers = [("trace", b"%d" % n)]
            if replays:
                place = f"{self.source}/{number}/{starts[number]}@{AGENT}"
                headers += [(REPLAY_OF, place.encode()), ("streamapp.dlq.replay-count", b"%d" % replays)]
            producer.produce(self.source, data, key, number, timestamp=at, headers=[("trace", b"%d" % n)])
            record = MemoryRecord(Partition(self.source, number), starts[number], key, data, (1, at), headers)
            starts[number] += 1
            failure = Failure(
                agent=AGENT, exception=TimeoutError("slow"), stage="handler", reason="retries-exhausted", attempts=4,
                first_failed_at=time.time(), failed_at=time.time(),
            )  # fmt: skip
            burial = bury(record, failure, writer=writer, topic=topic)
            name, letter, letter_key, where, _, told = burial.outgoing
            producer.produce(name, letter, letter_key, where, headers=told)  # type: ignore[arg-type]  # a list is what it takes
            ids.append(burial.id)
        assert producer.flush(PATIENCE) == 0
        return ids

    # --- commands

    @property
    def env(self) -> dict[str, str]:
        return {"STREAMAPP_BROKER": self.bootstrap, "STREAMAPP_WEB_PORT": "0", "PYTHONPATH": f"{ROOT}:{self.home}"}

    def dlq_command(self, *arguments: str, **env: str) -> Result:
        """Run `streamapp dlq …` in this process."""
        verb, *rest = arguments
        return CliRunner().invoke(main, ["dlq", verb, "-A", self.module, *rest], env={**self.env, **env})

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start `streamapp dlq …` as a process."""
        verb, *rest = arguments
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_"))}
        self.made.append(
            subprocess.Popen(
                [*BOUND_TO_US, str(STREAMAPP), "dlq", verb, "-A", self.module, *rest],
                cwd=self.home,
                env={**outside, **self.env, **env},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        return self.made[-1]

    # --- what is in the topics

    def copies(self, topic: str | None = None) -> list[Rec]:
        """Return the copies that a `read_committed` reader sees."""
        lanes = read_topics(self.bootstrap, [topic or self.source])[topic or self.source]
        return [record for lane in lanes.values() for record in lane if any(name == REPLAY_OF for name, _ in record.headers)]

    def copied(self, topic: str | None = None) -> Counter[str]:
        """Return how often each letter was copied."""
        return Counter((dict(record.headers)[REPLAY_OF] or b"").decode() for record in self.copies(topic))

    def rows(self) -> dict[str, Row]:
        """Return the last row of each key."""
        found: dict[str, Row] = {}
        for record in read_topics(self.bootstrap, [self.status])[self.status].get(0, []):
            key, entry = (record.key or b"").decode(), decode(record.key, record.value)
            if entry is not None and entry.row is not None:
                found[key] = entry.row
            else:
                found.pop(key, None)
        return found

    def statuses(self) -> Counter[str]:
        return Counter(str(row.status) for row in self.rows().values() if isinstance(row, Resolution))

    def jobs(self) -> dict[str, Job]:
        return {key.removeprefix("job:"): row for key, row in self.rows().items() if isinstance(row, Job)}

    def lock(self) -> Lock | None:
        return next((row for row in self.rows().values() if isinstance(row, Lock)), None)

    def write(self, name: str, row: Row) -> None:
        key, value = encode(name, row)
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        producer.produce(self.status, value, key, 0)
        assert producer.flush(PATIENCE) == 0

    def close(self) -> None:
        for process in self.made:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.communicate(timeout=10)


class PlayedWorker:
    """Answers each copy, and each take, as a worker would. A context manager."""

    def __init__(self, rig: ReplayRig, answer: Callable[[str], Status] | None = None, *, takes: Take | None = None) -> None:
        self._rig = rig
        self._answer = answer or (lambda _: Status.RESOLVED)
        self._takes = takes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        from confluent_kafka import TopicPartition

        rig = self._rig
        consumer = bare_consumer(rig.bootstrap)
        producer = Producer({"bootstrap.servers": rig.bootstrap, "linger.ms": 0, "log_level": 0})
        consumer.assign([TopicPartition(rig.source, 0, 0), TopicPartition(rig.source, 1, 0), TopicPartition(rig.status, 0, 0)])
        while not self._over.is_set():
            message = consumer.poll(0.05)
            if message is None or message.error() is not None:
                continue
            record = rec_of(message)
            row: Row | None = None
            if record.topic == rig.status:
                entry = decode(record.key, record.value)
                if entry is None or not isinstance(entry.row, Take) or entry.row.state != "asked" or self._takes is None:
                    continue
                name, row = entry.name, Take(state=self._takes.state, at=datetime.now(UTC), by="w-1")
            else:
                name = (dict(record.headers).get(REPLAY_OF) or b"").decode()
                if not name:
                    continue
                row = Resolution(status=self._answer(name), at=datetime.now(UTC), by="w-1", outcome="processed")
            key, value = encode(name, row)
            producer.produce(rig.status, value, key, 0)
            producer.poll(0)
        producer.flush(PATIENCE)
        consumer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(PATIENCE)


def replay_killed_midway(rig: ReplayRig, *arguments: str, crash_at: str) -> str:
    """Start a replay that dies at `crash_at` (as `replay-before-commit:3`), see that it did, and return the name of its job.

    Then `dlq replay --resume JOB --execute` goes on. For 10 000 letters: `--rate none`, and a crash at the 50th transaction.
    """
    process = rig.start("replay", *arguments, "--execute", STREAMAPP_TEST_CRASH_AT=crash_at)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    (name,) = rig.jobs()
    return name


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    """Wait until a process has stopped itself (`=stop` of a fault point)."""

    def stopped() -> bool:
        assert process.poll() is None, process.communicate()
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    wait_until(stopped, why=lambda: "it runs on")


def documents(result: Result) -> list[dict[str, object]]:
    """Return what a command printed with --json."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def once(ids: Sequence[str]) -> Counter[str]:
    return Counter(dict.fromkeys(ids, 1))


@pytest.fixture
def replay_rig(bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayRig]:
    """The app on the shared broker."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    made = ReplayRig(bootstrap, tmp_path)
    yield made
    made.close()
