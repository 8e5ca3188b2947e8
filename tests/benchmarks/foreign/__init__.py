"""Contenders from registries, each in an environment of its own below `build/bench/`."""

from __future__ import annotations

from typing import Final

from tests.benchmarks.foreign.contender import ForeignContender
from tests.benchmarks.foreign.kafka_streams.contender import KafkaStreams
from tests.benchmarks.foreign.python_contender import PythonContender

QUIX_STREAMS: Final = PythonContender(
    name="Quix Streams",
    promise="exactly once",
    jobs=("dedupe", "map"),
    records_share=0.25,
    directory="quix-streams",
    program="quix_streams/jobs.py",
    requirements=("quixstreams>=3.28,<4",),
    shown=("quixstreams", "confluent-kafka", "rocksdict", "orjson"),
)


def _faust(name: str, promise: str, setting: str, jobs: tuple[str, ...], share: float) -> PythonContender:
    return PythonContender(
        name=name,
        promise=promise,
        jobs=jobs,
        records_share=share,
        directory="faust-streaming",
        program="faust_streaming/jobs.py",
        arguments=(setting,),
        # The extras are the ones its documentation names for speed; lz4 is for reading what the benchmark has loaded.
        requirements=("faust-streaming[fast,rocksdict,uvloop]>=0.15.3,<0.16", "aiokafka[lz4]"),
        shown=("faust-streaming", "mode-streaming", "aiokafka", "rocksdict", "orjson", "uvloop"),
    )


FOREIGN: Final[tuple[ForeignContender, ...]] = (
    KafkaStreams(),
    QUIX_STREAMS,
    _faust("faust-streaming (at least once)", "at least once", "at_least_once", ("dedupe", "map"), 0.08),
    # What its users can ask for. It does not hold: faust_streaming/jobs.py says why.
    _faust("faust-streaming (exactly_once)", "exactly once", "exactly_once", ("dedupe",), 0.03),
)
