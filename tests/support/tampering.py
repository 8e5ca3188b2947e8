"""Clients of the Kafka library whose calls a test sees, delays, changes or fails, where the engine makes them.

The engine's own code runs unchanged: only the classes that its two modules import are replaced, while a rig lives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from unittest.mock import patch

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from streamapp.kafka import producer as producer_module
from streamapp.kafka import source as source_module

QUIET = frozenset({"produce", "poll", "consume", "__len__"})
"""Calls per record or per turn: tampered with, and not written down."""


@dataclass
class Call:
    """One call of one client."""

    client: Client
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    method: Callable[..., Any]

    def proceed(self) -> Any:
        """Make the call and return its answer."""
        return self.method(*self.args, **self.kwargs)


Tamper: TypeAlias = "Callable[[Call], Any]"


def straight(call: Call) -> Any:
    return call.proceed()


@dataclass
class Log:
    """Every client that the engine made, and what they were called for, in order."""

    clients: list[Client] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    tamper_producer: Tamper = straight
    tamper_consumer: Tamper = straight

    def names(self, *wanted: str) -> list[str]:
        """Return the calls of these names in their order."""
        return [call.name for call in self.calls if call.name in wanted]

    @property
    def producers(self) -> list[Client]:
        """Transactional ones."""
        return [client for client in self.clients if "transactional.id" in client.options]


class Client:
    """Stands where the library's client stood."""

    def __init__(self, real: Any, options: Mapping[str, Any], log: Log, tamper: Callable[[], Tamper]) -> None:
        self.real = real
        self.options = dict(options)
        self._log = log
        self._tamper = tamper

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.real, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            made = Call(self, name, args, kwargs, method)
            if name not in QUIET:
                self._log.calls.append(made)
            return self._tamper()(made)

        return call

    def __len__(self) -> int:
        return len(self.real)


@contextmanager
def tampered() -> Iterator[Log]:
    """Have the engine use tampered clients as long as the context lasts."""
    log = Log()

    def producer(options: Mapping[str, Any], **more: Any) -> Client:
        log.clients.append(Client(Producer(dict(options), **more), options, log, lambda: log.tamper_producer))
        return log.clients[-1]

    def consumer(options: Mapping[str, Any], **more: Any) -> Client:
        log.clients.append(Client(Consumer(dict(options), **more), options, log, lambda: log.tamper_consumer))
        return log.clients[-1]

    with (
        patch.object(producer_module, "Producer", producer),  # a factory where the engine makes its client
        patch.object(source_module, "Consumer", consumer),
    ):
        yield log


# --- what a test does to calls


def error(
    code: int, text: str = "made by a test", *, fatal: bool = False, retriable: bool = False, abort: bool = False
) -> KafkaException:
    """Return what librdkafka raises, with these flags."""
    return KafkaException(KafkaError(code, text, fatal, retriable, abort))


def on(name: str, act: Callable[[Call], Any], *, nth: int = 1, times: int = 1) -> Tamper:
    """Return a tamper that does `act` instead of the n-th call `name` (and the next, `times` in all); all others go straight on."""
    lock, seen = threading.Lock(), 0

    def tamper(call: Call) -> Any:
        nonlocal seen
        if call.name != name:
            return call.proceed()
        with lock:
            seen += 1
            mine = nth <= seen < nth + times
        return act(call) if mine else call.proceed()

    return tamper


def raising(failure: BaseException, *, after: bool = False) -> Callable[[Call], Any]:
    """Return an act that raises `failure`; `after`: once the real call was made, so that only its answer is lost."""

    def act(call: Call) -> Any:
        if after:
            call.proceed()
        raise failure

    return act


def slow(seconds: float, *, after: bool = False) -> Callable[[Call], Any]:
    """Return an act that makes the call and takes that long: a broker that answers late."""

    def act(call: Call) -> Any:
        if after:
            answer = call.proceed()
            time.sleep(seconds)
            return answer
        time.sleep(seconds)
        return call.proceed()

    return act
