"""A broker that does not speak the protocol in the clear, or does not know the requests, tells nothing and is no crash."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streamapp.kafka.transactions import coordinated, open_producers
from streamapp.records import Partition


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, int]]:
    """Listen, answer each connection with these bytes and hang up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stopping = threading.Event()

        def serve() -> None:
            while not stopping.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[:2]
        finally:
            stopping.set()
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x00\x00\x05\x00\x00\x00\x01\x00",
        b"\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x00\x00",
    ],
)
def test_an_answer_that_is_none_is_an_os_error(answer: bytes) -> None:
    with answering(answer) as broker:
        with pytest.raises(OSError):  # noqa: PT011 - of whatever kind: the caller says that it is unknown
            open_producers(broker, [Partition("orders", 0)], 5)
        with pytest.raises(OSError):  # noqa: PT011
            coordinated([broker], [7], 5)


def test_an_answer_is_read_as_the_protocol_guide_has_it() -> None:
    body = (
        b"\x00\x00\x00\x01\x00"  # correlation id, no tags
        b"\x00\x00\x00\x00"  # throttle time
        b"\x02\x07orders"  # one topic
        b"\x02\x00\x00\x00\x03\x00\x00\x00"  # one partition: 3, no error, no message
        b"\x03"  # two producers
        b"\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x02\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x01"
        b"\x00\x00\x00\x00\x00\x00\x00\x28\x00"  # its transaction begins at 40
        b"\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x00"  # none is open
        b"\x00\x00\x00"
    )
    with answering(len(body).to_bytes(4) + body) as broker:
        (found,) = open_producers(broker, [Partition("orders", 3)], 5)[Partition("orders", 3)]
    assert (found.producer_id, found.epoch, found.start, found.last_timestamp_ms) == (7, 2, 40, 4096)
