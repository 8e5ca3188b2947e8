"""Sending from scripts and commands: `app.producer`, flushed at exit, loud about what was not delivered."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

from faust.types.tuples import TP, RecordMetadata
from mode import Service

from streamapp.clock import Deadline
from streamapp.errors import DeliveryFailed
from streamapp.records import Outgoing
from streamapp.worker.handover import Delivery
from streamapp.worker.refusals import refuse

FLUSH: Final = 35.0
"""Seconds that an exit waits for deliveries: longer than a record's own time to live, so that each ends one way or the other."""


class Plain(Protocol):
    """What this needs of `streamapp.kafka.script_producer.ScriptProducer`."""

    def produce(self, record: Outgoing, told: Callable[[Exception | None, int, int], None]) -> None: ...
    def flush(self, deadline: Deadline) -> int: ...
    def close(self) -> None: ...


class ClientProducer(Service):
    """`app.producer` outside a worker. Made with the first send; nothing connects before."""

    def __init__(self, connect: Callable[[], Plain], **options: Any) -> None:
        super().__init__(**options)
        self._connect = connect
        self._plain: Plain | None = None
        self._failures: list[Exception] = []

    def send(self, outgoing: Outgoing) -> Delivery:
        """Hand one record over. Raises OutputRejected, SettingInvalid."""
        if self._plain is None:
            self._plain = self._connect()
            atexit.register(self._at_exit)
            self._started.set()
            self._stopped.clear()
        delivery = Delivery()
        topic = outgoing[0]

        def told(failure: Exception | None, partition: int, offset: int) -> None:
            if failure is not None:
                self._failures.append(failure)
                delivery.future.set_exception(failure)
            else:
                delivery.future.set_result(
                    RecordMetadata(topic=topic, partition=partition, topic_partition=TP(topic, partition), offset=offset)
                )

        self._plain.produce(outgoing, told)
        return delivery

    async def flush(self) -> None:
        """Return when everything is delivered. Raises DeliveryFailed for the first that was not."""
        await asyncio.get_running_loop().run_in_executor(None, self.flush_now)

    def flush_now(self) -> None:
        """As `flush`, blocking."""
        if self._plain is None:
            return
        left = self._plain.flush(Deadline.after(FLUSH))
        failures, self._failures = self._failures, []
        if failures:
            raise failures[0]
        if left:
            raise DeliveryFailed(f"{left} records were not delivered within {FLUSH:g} s")

    async def on_stop(self) -> None:
        try:
            await self.flush()
        finally:
            self._close()

    def _close(self) -> None:
        plain, self._plain = self._plain, None
        if plain is not None:
            atexit.unregister(self._at_exit)
            plain.close()

    def _at_exit(self) -> None:
        """A script ends: deliver what it sent, and end it with 1 if that fails."""
        try:
            self.flush_now()
        except Exception as failure:  # whatever it is, a script whose records did not arrive must not end with 0
            print(f"streamapp: {failure}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            # An exception in an exit handler is printed and forgotten; only this changes the exit code.
            os._exit(1)
        finally:
            self._close()

    def send_soon(self, *args: Any, **options: Any) -> NoReturn:
        refuse("app.producer.send_soon(…)", "use topic.send_soon(…)")

    async def send_and_wait(self, *args: Any, **options: Any) -> NoReturn:
        refuse("app.producer.send_and_wait(…)", "await (await topic.send(…))")

    async def create_topic(self, *args: Any, **options: Any) -> NoReturn:
        refuse("app.producer.create_topic(…)", "await topic.declare()")


__all__ = ["ClientProducer", "Plain"]
