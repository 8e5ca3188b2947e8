"""`faust -A streamapp worker` without one of the engine's rules, so that a test can show what the rule is good for.

WEAKENED=suspect python -m tests.support.weakened_worker -A streamapp worker -l info

The engine has no such switch: it is this process that replaces a part of it before it starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

from faust.cli.faust import cli

from streamapp.kafka.producer import KafkaProducer
from tests.support.workers import WORKER

WEAKENED: Final = "WEAKENED"


def command() -> tuple[str, ...]:
    """Return what starts such a worker; the variable WEAKENED has to be set for it."""
    return (sys.executable, "-m", "tests.support.weakened_worker", *WORKER[1:])


def without_suspicion() -> None:
    """Rule 11: go on with the producer, however long the end of its transaction took."""
    KafkaProducer.suspect = property(lambda self: False)  # type: ignore[assignment,method-assign]  # the rule is a property


RULES: Final[dict[str, Callable[[], None]]] = {"suspect": without_suspicion}

if __name__ == "__main__":
    RULES[os.environ[WEAKENED]]()
    cli()
