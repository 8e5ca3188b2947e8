"""Kafka in memory: what exactly-once rests on, without a broker. Each client fills one of the engine's ports.

    kafka = MemoryKafka({"orders": 2, "out": 2})
    worker = MemoryHost(kafka, "w1")              # what dies together
    producer = MemoryProducer(worker, "app-w1")
    producer.init_transactions(Deadline.after(1))
    worker.fail(Call.COMMIT, Fault(error=OutcomeUnknown(), is_done=True))
    kafka.feed("orders", 0, b"...")
    kafka.records("out", 0)                       # as a read_committed reader sees it

It passes the conformance tests that the clients of a real broker pass (tests/conformance). What it has not: more than one broker,
the network, time; nothing ends by a clock of its own.
"""

from streamapp.testing.memory_kafka.broker import MemoryKafka
from streamapp.testing.memory_kafka.group import MemoryGroupMetadata
from streamapp.testing.memory_kafka.host import Call, Fault, MemoryHost, ProcessDied
from streamapp.testing.memory_kafka.inspector import MemoryInspector
from streamapp.testing.memory_kafka.log import MemoryRecord
from streamapp.testing.memory_kafka.producer import MemoryProducer
from streamapp.testing.memory_kafka.readers import (
    MemoryAdmin,
    MemoryChangelogReader,
    MemoryFollower,
    MemoryOffsets,
    MemoryWatermarks,
)
from streamapp.testing.memory_kafka.refusals import Code, Refused
from streamapp.testing.memory_kafka.source import MemorySource

__all__ = [
    "Call",
    "Code",
    "Fault",
    "MemoryAdmin",
    "MemoryChangelogReader",
    "MemoryFollower",
    "MemoryGroupMetadata",
    "MemoryHost",
    "MemoryInspector",
    "MemoryKafka",
    "MemoryOffsets",
    "MemoryProducer",
    "MemoryRecord",
    "MemorySource",
    "MemoryWatermarks",
    "ProcessDied",
    "Refused",
]
