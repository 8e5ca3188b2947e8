"""A TCP proxy between workers and a broker that does to their connections what networks do: cut, silence, slow, lose, delay.

    with KafkaProxy() as proxy:
        proxy.port, proxy.upstream_port      # where clients knock, and where a broker should: see proxied_broker.py
        proxy.cut()

It knows of Kafka's protocol the framing and the request header only: which API a request is, whose client it comes from, and
which request a reply belongs to. Everything that passes is passed as it came, but for the metadata that `no_brokers` empties.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from streamapp.broker.ports import HOST, pick_free
from tests.support.ordered_faults import (
    Api,
    HeldBack,
    Loss,
    LostReply,
    NoBrokers,
    Ordered,
    Request,
    Where,
    anyone,
    without_brokers,
)
from tests.support.topics import PATIENCE

CHUNK: Final = 16 * 1024
"""Bytes that are passed at once while the line is slow."""
LARGEST_FRAME: Final = 128 * 1024 * 1024
LATE_ANSWER: Final = 10.0
"""Seconds that the line waits for the answer to a request that it held back, before it goes on regardless."""

_Answer = TypeVar("_Answer")


_Fault = TypeVar("_Fault", LostReply, HeldBack, NoBrokers)


@dataclass(slots=True)
class _Late:
    ordered: HeldBack
    request: Request
    connection: _Connection
    transaction: int
    """The number of the transaction that it is of."""
    answered: asyncio.Future[bytes]
    met: int = 0
    """The number of the last transaction in which a request of its kind came."""


@dataclass(slots=True)
class Transactions:
    """Where one producer is, as far as passing requests tell."""

    number: int = 0
    open: bool = False
    ended: deque[float] = field(default_factory=lambda: deque(maxlen=1_000))
    """Monotonic seconds of the commits whose answer was passed on."""


class KafkaProxy:
    """One proxy before one broker, on a thread of its own. A context manager; closes all that it opened."""

    def __init__(self) -> None:
        # Below the ports of outgoing connections, as the broker's: else a client that knocks while nobody listens may meet itself.
        self.port = pick_free()
        self.upstream_port = pick_free({self.port})
        self.requests: Counter[int] = Counter()
        """Requests that clients sent, by API."""
        self.cuts = 0
        """Connections that were cut by a fault."""
        self.broken: Exception | None = None
        """What went wrong in the proxy itself; `close` raises it."""
        self._producers: dict[str, Transactions] = {}
        self._ordered: list[Ordered] = []
        self._late: list[_Late] = []
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._delay, self._bytes_per_second = 0.0, 0.0
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._listening: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="kafka-proxy", daemon=True)

    # --- life

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def close(self) -> None:
        """Close every connection and end the thread. May be called twice, and before start. Raises what went wrong inside."""
        if self._thread.is_alive():
            self._call(self._shut())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
            assert not self._thread.is_alive(), "the proxy does not end"
        if not self._loop.is_closed():
            self._loop.close()
        broken, self.broken = self.broken, None
        if broken is not None:
            raise broken

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- what it does to connections

    def cut(self) -> int:
        """Cut every connection; return how many there were."""
        return self._call(self._cut())

    @contextmanager
    def blackhole(self) -> Iterator[None]:
        """Accept, and pass nothing, as long as the context lasts; then what was sent meanwhile arrives."""
        self._call(self._set_flow(flows=False))
        try:
            yield
        finally:
            self._call(self._set_flow(flows=True))

    @contextmanager
    def slow(self, *, delay: float = 0.0, bytes_per_second: float = 0.0) -> Iterator[None]:
        """Have each chunk, either way, take `delay` seconds more, and connections pass so many bytes each second (0: any)."""
        self._delay, self._bytes_per_second = delay, bytes_per_second
        try:
            yield
        finally:
            self._delay = self._bytes_per_second = 0.0

    def lose_reply(self, api: Api, then: Loss, *, where: Where = anyone, nth: int = 1, times: int = 1) -> LostReply:
        """Swallow the reply to the n-th such request from now on, and the next, `times` in all."""
        return self._order(LostReply(api, where, nth, times, then))

    def hold_back(self, api: Api, *, where: Where = anyone, nth: int = 1, times: int = 1) -> HeldBack:
        """Keep the n-th such request, cut its client off, and deliver it, over the connection that it had, in a later transaction.

        An EndTxn, or an InitProducerId, arrives once records of that transaction are written, a TxnOffsetCommit right before the end of one that has sent
        such offsets itself.
        The client is kept waiting for what it asked then until the late one is answered.
        """
        return self._order(HeldBack(api, where, nth, times))

    def no_brokers(self, *, where: Where = anyone, nth: int = 1, times: int = 1) -> NoBrokers:
        """Answer the n-th question for metadata from now on, and the next, `times` in all, with no broker's name."""
        return self._order(NoBrokers(Api.METADATA, where, nth, times))

    # --- what it sees

    @property
    def connections(self) -> int:
        return len(self._connections)

    def open_transactions(self) -> list[str]:
        """Return the client ids of the producers that are inside a transaction."""
        return [name for name, producer in list(self._producers.items()) if producer.open]

    def commits_since(self, moment: float) -> dict[str, float]:
        """Return, by producer, how many seconds after `moment` (monotonic) its first commit was answered."""
        first: dict[str, float] = {}
        for name, producer in list(self._producers.items()):
            later = [ended - moment for ended in list(producer.ended) if ended >= moment]
            if later:
                first[name] = later[0]
        return first

    # --- on the loop

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def _order(self, ordered: _Fault) -> _Fault:
        self._loop.call_soon_threadsafe(self._ordered.append, ordered)
        return ordered

    async def _listen(self) -> None:
        self._flows.set()
        self._listening = socket.create_server((HOST, self.port), backlog=1_000)
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept, self._listening)

    def _accept(self, listening: socket.socket) -> None:
        # Not asyncio's own way: what that has accepted and not yet told of would outlive a close.
        try:
            client, _ = listening.accept()
        except OSError:
            return  # gone again
        client.setblocking(False)
        connection = _Connection(self, client)
        self._connections.add(connection)
        task = self._loop.create_task(connection.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shut(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._connections):
            connection.abort()  # a task that was cancelled before it began has no `finally`
        await asyncio.sleep(0)  # sockets are closed in the turn after

    async def _cut(self) -> int:
        connections = [connection for connection in self._connections if not connection.holds]
        for connection in connections:
            connection.abort()
        self.cuts += len(connections)
        return len(connections)

    async def _set_flow(self, *, flows: bool) -> None:
        if flows:
            self._flows.set()
        else:
            self._flows.clear()

    async def carry(self, writer: asyncio.StreamWriter, frame: bytes) -> None:
        """Write `frame` the way that the line is just now. Waits for the other side: nothing piles up here."""
        if not self._delay and not self._bytes_per_second:
            await self._flows.wait()
            writer.write(frame)
            await writer.drain()
            return
        for at in range(0, len(frame), CHUNK):
            chunk = frame[at : at + CHUNK]
            per_byte = 1 / self._bytes_per_second if self._bytes_per_second else 0.0
            await asyncio.sleep(self._delay + len(chunk) * per_byte)
            await self._flows.wait()
            writer.write(chunk)
            await writer.drain()

    async def asked(self, request: Request) -> Ordered | None:
        """Note a request that a client sent; return the fault that strikes it."""
        self.requests[request.api] += 1
        producer = self._producers.setdefault(request.client_id, Transactions()) if request.api in _OF_TRANSACTIONS else None
        if producer is not None and request.api in _OPENING and not producer.open:
            producer.open = True
            producer.number += 1
        if producer is not None and request.api == Api.TXN_OFFSET_COMMIT:
            for late in self._late:
                if late.request.client_id == request.client_id and late.ordered.where(request):
                    late.met = producer.number
        if request.api == Api.END_TXN:
            await self._deliver_late(request, {Api.TXN_OFFSET_COMMIT})
        return next((ordered for ordered in self._ordered if ordered.strikes(request)), None)

    async def answered(self, request: Request) -> None:
        """Note a reply that is about to be passed on."""
        producer = self._producers.get(request.client_id)
        if producer is None:
            return
        if request.api == Api.PRODUCE:
            await self._deliver_late(request, {Api.END_TXN, Api.INIT_PRODUCER_ID})
        elif request.api in {Api.END_TXN, Api.INIT_PRODUCER_ID}:
            producer.open = False
            if request.commits:
                producer.ended.append(time.monotonic())

    def hold(self, ordered: HeldBack, request: Request, connection: _Connection) -> None:
        number = self._producers[request.client_id].number
        self._late.append(_Late(ordered, request, connection, number, self._loop.create_future()))

    async def _deliver_late(self, passing: Request, apis: set[Api]) -> None:
        """Deliver what was held back of `apis` and of the same producer, if its transaction is over and another one open."""
        producer = self._producers.get(passing.client_id)
        if producer is None or not producer.open:
            return
        due = [
            late
            for late in self._late
            if late.ordered.api in apis
            and late.request.client_id == passing.client_id
            and late.transaction < producer.number
            and (late.met == producer.number or late.ordered.api is not Api.TXN_OFFSET_COMMIT)
        ]
        for late in due:
            self._late.remove(late)
            await late.connection.send_late(late)
            with suppress(TimeoutError):
                late.ordered.land(await asyncio.wait_for(late.answered, LATE_ANSWER))


_OPENING: Final = frozenset({Api.ADD_PARTITIONS_TO_TXN, Api.ADD_OFFSETS_TO_TXN})
_OF_TRANSACTIONS: Final = _OPENING | {Api.INIT_PRODUCER_ID, Api.END_TXN, Api.TXN_OFFSET_COMMIT}


class _Connection:
    """A client's connection and the one that it stands for. Lives on the proxy's loop."""

    def __init__(self, proxy: KafkaProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._down: asyncio.StreamWriter | None = None
        self._up: asyncio.StreamWriter | None = None
        self._waiting: deque[tuple[Request, LostReply | NoBrokers | _Late | None]] = deque()
        self._silent = False
        """Nothing more reaches the client."""
        self.holds = False
        """The client was cut off, the broker does not know: a request of it is still under way."""

    async def run(self) -> None:
        try:
            asking, self._down = await asyncio.open_connection(sock=self._client)
            await self._proxy._flows.wait()
            answering, self._up = await asyncio.open_connection(HOST, self._proxy.upstream_port)
            pumps = [
                asyncio.ensure_future(self._requests(asking, self._up, self._down)),
                asyncio.ensure_future(self._replies(answering, self._down)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                for ended in await asyncio.gather(*pumps, return_exceptions=True):
                    if isinstance(ended, Exception) and not isinstance(ended, OSError):
                        self._proxy.broken = self._proxy.broken or ended
        except OSError:
            pass  # no broker there: the client sees its connection end
        finally:
            self.abort()
            self._proxy._connections.discard(self)

    def abort(self) -> None:
        if self._down is None:
            self._client.close()
        for writer in (self._down, self._up):
            if writer is not None:
                writer.transport.abort()

    async def send_late(self, late: _Late) -> None:
        assert self._up is not None
        self._waiting.append((late.request, late))
        with suppress(OSError):
            await self._proxy.carry(self._up, late.request.frame)

    async def _requests(self, reader: asyncio.StreamReader, up: asyncio.StreamWriter, down: asyncio.StreamWriter) -> None:
        while (frame := await _frame(reader)) is not None:
            request = Request.of(frame)
            ordered = await self._proxy.asked(request)
            if isinstance(ordered, HeldBack):
                self._proxy.hold(ordered, request, self)
                self.holds = True
                down.transport.abort()
                await asyncio.Event().wait()  # the broker's side stays: its end, or the proxy's, ends this
            self._waiting.append((request, ordered if isinstance(ordered, LostReply | NoBrokers) else None))
            await self._proxy.carry(up, frame)

    async def _replies(self, reader: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        while (frame := await _frame(reader)) is not None:
            request, fault = self._question(frame)
            if isinstance(fault, _Late):
                if not fault.answered.done():
                    fault.answered.set_result(frame)
            elif isinstance(fault, LostReply):
                self._silent = True
                fault.land(frame)
                if fault.then is Loss.CUT:
                    return
            elif not self._silent and not self.holds:
                if isinstance(fault, NoBrokers):
                    frame = without_brokers(request, frame)
                    fault.land(frame)
                await self._proxy.answered(request)
                await self._proxy.carry(down, frame)

    def _question(self, reply: bytes) -> tuple[Request, LostReply | NoBrokers | _Late | None]:
        """Return what `reply` answers; a broker answers in the order of the questions, save those that want no answer."""
        (correlation,) = struct.unpack_from(">i", reply, 4)
        while True:
            request, fault = self._waiting.popleft()
            if request.correlation == correlation:
                return request, fault


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next frame, its size in front, or None at the end."""
    try:
        head = await reader.readexactly(4)
        (size,) = struct.unpack(">i", head)
        return head + await reader.readexactly(size) if 4 <= size <= LARGEST_FRAME else None
    except (asyncio.IncompleteReadError, OSError):
        return None


__all__ = ["KafkaProxy", "Transactions"]
