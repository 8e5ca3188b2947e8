"""Agents: Faust's declaration, run by the engine over its cursors."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast, get_args

import faust.agents.agent
from faust.types import AgentT, ChannelT
from mode import CrashingSupervisor
from mode.utils.futures import maybe_async
from mode.utils.tracebacks import format_agen_stack, format_coro_stack

from streamapp.errors import ConfigurationError
from streamapp.pipeline.breaker import Breaker
from streamapp.pipeline.cursor import Cursor
from streamapp.pipeline.retry import Retry
from streamapp.pipeline.savepoint import current_savepoint
from streamapp.pipeline.spec import AgentSpec, OnError, SourceSpec
from streamapp.worker.events import CurrentEvent, InHand, set_current_event
from streamapp.worker.handover import Delivery, HandedOver
from streamapp.worker.refusals import refuse
from streamapp.worker.stream import Stream
from streamapp.worker.tables import DedupeKey
from streamapp.worker.topics import Topic

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.worker.harness import AgentHarness

POLICIES = get_args(OnError)
ASK_IDIOM = "answer to a topic that the asking side reads: @app.agent(replies)"


class Agent(faust.agents.agent.Agent):
    """A function over a stream. The engine decides which records it sees, and what becomes of those that fail."""

    app: StreamApp

    def __init__(
        self,
        fun: Any,
        *,
        app: Any,
        channel: Any = None,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        dlq: str | Topic | None = None,
        dedupe: DedupeKey | None = None,
        on_error: Any = None,
        supervisor_strategy: Any = None,
        isolated_partitions: bool = False,
        concurrency: int = 1,
        **options: Any,
    ) -> None:
        if isinstance(channel, ChannelT) and not isinstance(channel, Topic):
            refuse("an agent on a channel", "channels are not built yet; give it a topic, and test it with agent.test_context()")
        if channel is not None and not isinstance(channel, (str, Topic)):
            raise ConfigurationError(f"@app.agent({channel!r}): must be a topic or a topic's name")
        if isinstance(channel, str):
            channel = app.topic(channel, **_topic_options(options))
        if isolated_partitions:
            refuse(
                "isolated_partitions=True",
                "keep what belongs to a partition in a table, or in a dict by current_event().message.tp",
            )
        if isinstance(supervisor_strategy, type) and issubclass(supervisor_strategy, CrashingSupervisor):
            refuse(
                "supervisor_strategy=CrashingSupervisor",
                "a failing record is retried, then dead-lettered; say with retry= and dlq= how",
            )
        if breaker is not None and on_error == "stop":
            raise ConfigurationError(
                'breaker= and on_error="stop": an agent that stops at failures never dead-letters, so it has no breaker'
            )
        if isinstance(on_error, str) and on_error not in POLICIES:
            raise ConfigurationError(f'on_error="{on_error}": must be a function, or one of {", ".join(POLICIES)}')
        if not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigurationError(f"concurrency={concurrency!r}: must be a whole number from 1")
        if on_error == "block_key" and concurrency > 1:
            raise ConfigurationError(
                f'on_error="block_key" with concurrency={concurrency}: records of one key would overtake one another; '
                'leave concurrency out, or take on_error="skip"'
            )
        if dedupe is not None and not isinstance(dedupe, DedupeKey):
            raise ConfigurationError("dedupe= wants a dedupe table and its key: dedupe=table.by(lambda value: value.id)")
        self.retry = retry
        self.breaker = breaker
        self.dedupe = dedupe
        self._dlq = dlq
        self.policy: OnError = on_error if isinstance(on_error, str) else "skip"  # type: ignore[assignment]  # one of them, see above
        self._user_on_error = on_error if callable(on_error) else None
        self._lives: dict[int, Any] = {}
        super().__init__(
            fun, app=app, channel=channel, concurrency=concurrency, supervisor_strategy=supervisor_strategy, **options
        )

    # --- what the engine runs

    @property
    def source_topic(self) -> Topic:
        """The topic that the agent is declared on."""
        return cast("Topic", self.channel)

    @property
    def dlq(self) -> str | None:
        """The dead-letter topic that the declaration names; None where it names none."""
        return self._dlq.get_topic_name() if isinstance(self._dlq, Topic) else self._dlq

    @property
    def yields(self) -> bool:
        """Whether the function yields, so that sinks have something to take."""
        return inspect.isasyncgenfunction(_plain(self.fun))

    def check(self) -> None:
        """Raises ConfigurationError: the declaration contradicts itself."""
        if self._sinks and inspect.iscoroutinefunction(_plain(self.fun)):
            raise ConfigurationError(f"agent {self.name} has sinks and never yields: yield what they are to take")
        for sink in self._sinks:
            if isinstance(sink, ChannelT) and not isinstance(sink, Topic):
                refuse(f"a channel as sink of agent {self.name}", "channels are not built yet; give it a topic")

    def spec(
        self,
        *,
        sources: Sequence[SourceSpec],
        retry: Retry,
        dlq: str | None,
        dedupe: Any = None,
        breaker: Breaker | None = None,
    ) -> AgentSpec:
        """Return the agent as the engine runs it."""
        by_topic = {source.topic: source for source in sources}

        async def run(cursor: Cursor) -> None:
            await self.live(cursor, by_topic)

        return AgentSpec(
            name=self.name,
            sources=tuple(sources),
            run=run,
            concurrency=self.concurrency,
            dedupe=dedupe,
            retry=retry,
            breaker=breaker,
            dlq=dlq,
            on_error="stop" if dlq is None else self.policy,
        )

    async def live(self, cursor: InHand, sources: dict[str, SourceSpec], yielded: Callable[[Any], None] | None = None) -> None:
        """Run the function once over `cursor`: returns when it returns, raises what it raises. `yielded` hears what it yields."""
        current = CurrentEvent(self.app, cursor, sources)
        set_current_event(current)
        faust.agents.agent._current_agent.set(self)
        stream = Stream.over(cursor, self, current)
        life = self.fun(stream)
        self._lives[id(cursor)] = life
        try:
            if isinstance(life, Awaitable):
                await life
                return
            try:
                async for value in life:
                    if yielded is not None:
                        yielded(value)
                    await self._delegate_to_sinks(value)
            finally:
                if hasattr(life, "aclose"):
                    await life.aclose()
        except Exception as failure:
            if self._user_on_error is not None:
                await self._tell(self._user_on_error, failure)
            raise
        finally:
            self._lives.pop(id(cursor), None)

    async def _tell(self, on_error: Callable[..., Any], failure: Exception) -> None:
        # Inside no transaction: what it sends must not hang on a record whose attempt is being dropped.
        token = current_savepoint.set(None)
        try:
            await maybe_async(on_error(self, failure))
        finally:
            current_savepoint.reset(token)

    async def _delegate_to_sinks(self, value: Any) -> None:
        for sink in self._sinks:
            if isinstance(sink, (AgentT, ChannelT)):
                await sink.send(value=value)
            else:
                await maybe_async(cast("Callable[[Any], Any]", sink)(value))

    # --- Faust's surface

    def _prepare_channel(  # type: ignore[override]  # by name
        self, channel: Any = None, internal: bool = True, **options: Any
    ) -> Any:
        if channel is not None:
            return channel
        return self.app.topic(f"{self.app.conf.id}-{self.name}", internal=internal, has_prefix=True, **options)

    async def send(
        self, *, reply_to: Any = None, correlation_id: str | None = None, force: bool = False, **options: Any
    ) -> HandedOver | Delivery:
        """Send to the agent's topic. Raises as Topic.send."""
        if reply_to is not None:
            refuse("agent.send(reply_to=…)", ASK_IDIOM)
        return await self.source_topic.send(**options)

    def send_soon(self, **options: Any) -> HandedOver | Delivery:
        """As `send`, for functions that are not async."""
        return self.source_topic.send_soon(**options)

    async def ask(self, *args: Any, **options: Any) -> NoReturn:
        refuse("agent.ask()", ASK_IDIOM)

    async def ask_nowait(self, *args: Any, **options: Any) -> NoReturn:
        refuse("agent.ask_nowait()", ASK_IDIOM)

    def map(self, *args: Any, **options: Any) -> NoReturn:
        refuse("agent.map()", ASK_IDIOM)

    def kvmap(self, *args: Any, **options: Any) -> NoReturn:
        refuse("agent.kvmap()", ASK_IDIOM)

    async def join(self, *args: Any, **options: Any) -> NoReturn:
        refuse("agent.join()", ASK_IDIOM)

    async def kvjoin(self, *args: Any, **options: Any) -> NoReturn:
        refuse("agent.kvjoin()", ASK_IDIOM)

    def test_context(  # type: ignore[override]  # driven by other names than Faust's wrapper
        self, channel: Any = None, supervisor_strategy: Any = None, on_error: Any = None, **options: Any
    ) -> AgentHarness:
        """Return the agent as a test drives it: no broker, no thread, no directory.

        `async with agent.test_context() as agent: await agent.put(value)`.
        """
        from streamapp.worker.harness import AgentHarness  # noqa: PLC0415 - only tests need it

        return AgentHarness(self)

    def info(self) -> dict[str, Any]:
        return {**super().info(), "retry": self.retry, "dlq": self._dlq, "dedupe": self.dedupe}

    def actor_tracebacks(self) -> list[str]:
        return [_stack(life) for life in list(self._lives.values())]

    # --- what Faust's agents do and the engine does now

    async def on_start(self) -> NoReturn:
        refuse("agent.start()", "the engine runs agents: faust -A app worker")

    async def on_stop(self) -> None:
        """Nothing runs here."""

    def cancel(self) -> None:
        """The engine stops actors."""

    def __call__(self, *args: Any, **options: Any) -> NoReturn:
        refuse(f"calling agent {self.name}", "call a function of both, or send to it: await agent.send(value=…)")


def _topic_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take what describes the agent's topic out of the decorator's options."""
    kinds = ("schema", "key_type", "value_type")
    own = {"name", "sink", "help", "use_reply_headers"}
    taken = {name: options.pop(name) for name in list(options) if name not in own}
    return {name: value for name, value in taken.items() if value is not None or name not in kinds}


def _plain(function: Any) -> Any:
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    return function


def _stack(life: Any) -> str:
    try:
        return str(format_agen_stack(cast("Any", life)) if inspect.isasyncgen(life) else format_coro_stack(life))
    except RuntimeError as gone:
        return f"no stack: {gone}"


__all__ = ["Agent"]
