"""Which release the brokers are and what the cluster's clock says: two requests of Kafka's protocol that the client library does not make.

Source: Kafka protocol guide, ApiVersions v3 (KIP-511, KIP-584), DescribeQuorum v1 (KIP-836).
"""

from __future__ import annotations

import time
from typing import Final

from streamapp.kafka.wire import PLAIN, Access, Address, NotTold, Reader, Writer, ask

API_VERSIONS, DESCRIBE_QUORUM = 18, 55
METADATA_VERSION: Final = "metadata.version"


def newest_metadata_version(broker: Address, timeout: float, access: Access = PLAIN) -> int:
    """Return the newest metadata.version that the broker knows: it rises with each release. Raises OSError."""
    body = Writer()
    body.text("streamapp")
    body.text("1")
    body.no_tags()
    answer = ask(broker, API_VERSIONS, 3, body, timeout, access)
    # This answer's header has no tagged fields, so that any client can read it: for those, `ask` took the error code's upper byte, which is 0.
    if refused := answer.fixed(">B"):
        raise NotTold(f"ApiVersions was refused with {refused}")
    for _ in range(answer.count()):
        answer.fixed(">h")
        answer.fixed(">h")
        answer.fixed(">h")
        answer.tags()
    answer.fixed(">i")  # throttle time
    for _ in range(answer.unsigned()):
        tag, size = answer.unsigned(), answer.unsigned()
        if tag == 0:
            return _newest(answer)
        for _ in range(size):
            answer.fixed(">b")
    raise NotTold("the broker names no features: it is older than Apache Kafka 3.3")


def _newest(answer: Reader) -> int:
    for _ in range(answer.count()):
        name = answer.text()
        answer.fixed(">h")
        newest = answer.fixed(">h")
        answer.tags()
        if name == METADATA_VERSION:
            return newest
    raise NotTold(f"the broker names no {METADATA_VERSION}")


def clock_ahead(broker: Address, timeout: float, access: Access = PLAIN) -> float:
    """Return the seconds that the controller's clock is ahead of ours, give or take half of the time of its answer. Raises OSError."""
    body = Writer()

    def write_partition(number: int) -> None:
        body.fixed(">i", number)
        body.no_tags()

    def write_topic(name: str) -> None:
        body.text(name)
        body.array([0], write_partition)
        body.no_tags()

    body.array(["__cluster_metadata"], write_topic)
    body.no_tags()
    began = time.time()
    answer = ask(broker, DESCRIBE_QUORUM, 1, body, timeout, access)
    ended = time.time()
    if refused := answer.fixed(">h"):
        raise NotTold(
            f"DescribeQuorum was refused with {refused}: this user lacks Describe on the cluster, or it is no KRaft cluster"
        )
    for _ in range(answer.count()):
        answer.text()
        for _ in range(answer.count()):
            told = _leaders_time(answer)
            if told is not None:
                return told - (began + ended) / 2
    raise NotTold("the controller does not tell its time")


def _leaders_time(answer: Reader) -> float | None:
    """Return what the leader tells of itself as its last fetch: the moment of the answer, seconds since 1970."""
    answer.fixed(">i")  # partition
    refused = answer.fixed(">h")
    leader = answer.fixed(">i")
    answer.fixed(">i")  # its epoch
    answer.fixed(">q")  # high watermark
    for _ in range(answer.count()):
        voter = answer.fixed(">i")
        answer.fixed(">q")  # log end
        moment = answer.fixed(">q")
        answer.fixed(">q")  # when it had caught up
        answer.tags()
        if voter == leader and not refused and moment > 0:
            return moment / 1000
    return None


__all__ = ["clock_ahead", "newest_metadata_version"]
