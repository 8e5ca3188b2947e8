"""All settings together, and the relations between one part's and another's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from streamapp.errors import SettingInvalid
from streamapp.settings.connection import BrokerSettings, IdentitySettings
from streamapp.settings.fields import (
    ValueRefused,
    require,
    variable,
)
from streamapp.settings.rooms import (
    BreakerSettings,
    GroupSettings,
    ObserveSettings,
    ProducerSettings,
    RetrySettings,
    StreamSettings,
    TopicSettings,
    TransactionSettings,
    WebSettings,
)


def retry_limit(transaction: TransactionSettings, group: GroupSettings) -> tuple[float, str]:
    """Return what no retry budget or attempt timeout may exceed, in seconds, and the words that derive it."""
    if transaction.transaction_timeout <= group.max_poll_interval:
        name, whole = "transaction_timeout", transaction.transaction_timeout
    else:
        name, whole = "max_poll_interval", group.max_poll_interval
    return whole / 2, f"{whole / 2:g} s = half of {variable(name)} ({whole:g} s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it: one room each, where every value came from, and what the log should say about it."""

    identity: IdentitySettings
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    transaction: TransactionSettings = field(default_factory=TransactionSettings)
    group: GroupSettings = field(default_factory=GroupSettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)
    producer: ProducerSettings = field(default_factory=ProducerSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    web: WebSettings = field(default_factory=WebSettings)
    observe: ObserveSettings = field(default_factory=ObserveSettings)
    origin: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)
    """Setting -> `flag`, `environment`, `pyproject.toml`, `code` or `default`."""
    notices: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Sentences to log once at start: what was ignored, unknown, or derived other than by default."""

    def __post_init__(self) -> None:
        limit = self.transaction.transaction_timeout / 4
        linger, why = self.producer.producer_linger, "a quarter of transaction_timeout"
        require("producer_linger", linger, low=0, high=limit, why=why)
        for what in ("budget", "attempt_timeout"):
            self.require_retry_limit(what, getattr(self.retry, f"retry_{what}"))

    def require_retry_limit(
        self, what: Literal["budget", "attempt_timeout"], seconds: float, *, agent: str | None = None
    ) -> None:
        """Refuse a retry budget or attempt timeout, the app's or one agent's own, that outlasts what surrounds it.

        Raises SettingInvalid: `retry budget 40 s of agent order_processor exceeds 15 s = half of STREAMAPP_TRANSACTION_TIMEOUT (30 s)`.
        """
        limit, derived = retry_limit(self.transaction, self.group)
        if seconds <= limit:
            return
        words = f"retry {what.replace('_', ' ')} {seconds:g} s"
        if agent is None:
            raise ValueRefused(f"retry_{what}", f"{seconds:g}", f"{words} exceeds {derived}")
        raise SettingInvalid(f"{words} of agent {agent} exceeds {derived}")


ROOMS: Final[Mapping[str, type]] = MappingProxyType(
    {
        "identity": IdentitySettings,
        "broker": BrokerSettings,
        "transaction": TransactionSettings,
        "group": GroupSettings,
        "topics": TopicSettings,
        "stream": StreamSettings,
        "producer": ProducerSettings,
        "retry": RetrySettings,
        "breaker": BreakerSettings,
        "web": WebSettings,
        "observe": ObserveSettings,
    }
)
"""Field of `Settings` -> its class; the names of all fields are distinct."""
