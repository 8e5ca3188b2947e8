"""The benchmark's copy loop with one fault, at its n-th record: `python -m tests.support.tampered_copy drops|doubles|changes|stalls n`."""

from __future__ import annotations

import sys
import time
from typing import Final

from confluent_kafka import Message, Producer

from tests.benchmarks import copy_loop

STALL: Final = 1.5
"""Seconds."""


def main(fault: str, at: int) -> None:
    right, seen = copy_loop.copy, 0

    def copy(producer: Producer, message: Message) -> None:
        nonlocal seen
        seen += 1
        if seen != at:
            right(producer, message)
        elif fault == "doubles":
            right(producer, message)
            right(producer, message)
        elif fault == "changes":
            value = message.value()
            assert isinstance(value, bytes)
            producer.produce(copy_loop.OUT, value.replace(b'"quantity":', b'"quantity":1'), message.key())
        elif fault == "stalls":
            time.sleep(STALL)
            right(producer, message)
        else:
            assert fault == "drops"

    copy_loop.copy = copy
    copy_loop.main()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
