"""What each part of a worker is told: default, unit, reason and range, one small class per part, checked once when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from streamapp.settings.fields import (
    Secret,
    ValueRefused,
    read_list,
    read_lower,
    require,
    require_bool,
    require_choice,
    require_match,
    require_secret,
)

HEARTBEAT_AT_MOST: Final = 3.0
_FUNCTION: Final = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"
_MODULE_FUNCTION: Final = "module:function"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionSettings:
    """When a unit of work is committed, and when the broker gives it up."""

    processing_guarantee: str = field(default="exactly_once", metadata={"read": read_lower})
    """`exactly_once`; or `at_least_once`, the same engine without transactions, for work that is idempotent."""
    commit_interval: float = 0.2
    """Seconds between commits, 0.01 to a third of `transaction_timeout`; about the delay that a read_committed reader sees. The
    default costs a few percent of the throughput that 1 s would give."""
    commit_every: int | None = None
    """Records after which a unit is committed before its interval is over, from 1. None: by time and bytes only."""
    transaction_timeout: float = 30.0
    """Seconds until the broker aborts for us, 1 to 900 (the broker's own maximum): how long a killed worker holds up readers,
    unless it is restarted sooner."""

    def __post_init__(self) -> None:
        require_choice("processing_guarantee", self.processing_guarantee, ("exactly_once", "at_least_once"))
        require("transaction_timeout", self.transaction_timeout, low=1, high=900)  # 900: the broker's default maximum
        third = "a third of transaction_timeout"
        require("commit_interval", self.commit_interval, low=0.01, high=self.transaction_timeout / 3, why=third)
        require("commit_every", self.commit_every, low=1, whole=True, optional=True)

    @property
    def exactly_once(self) -> bool:
        return self.processing_guarantee == "exactly_once"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """Membership of the consumer group."""

    group_protocol: str = field(default="classic", metadata={"read": read_lower})
    """`classic`: static members, back at once after a kill. `consumer` (KIP-848, brokers from 4.0): dynamic members, the broker
    keeps the session timeout."""
    session_timeout: float = 45.0
    """Seconds after which a silent worker's partitions go to others, 1 to 1800, inside the broker's limits. The default outlasts
    a restart; it is also how long a removed worker's partitions stay unowned. Classic protocol only."""
    heartbeat_interval: float | None = None
    """Seconds between signs of life, 0.01 to a third of `session_timeout`. None: the smaller of 3 s and that third."""
    max_poll_interval: float = 300.0
    """Seconds that the poll thread may be silent before the group takes its partitions, at least `session_timeout`, at most
    86400. Slow agents do not count: polling goes on beside them."""

    def __post_init__(self) -> None:
        require_choice("group_protocol", self.group_protocol, ("classic", "consumer"))
        require("session_timeout", self.session_timeout, low=1, high=1800)
        third = "a third of session_timeout"
        require(
            "heartbeat_interval",
            self.heartbeat_interval,
            low=0.01,
            high=self.session_timeout / 3,
            why=third,
            optional=True,
        )
        # librdkafka takes a day at most and refuses less than the session timeout.
        require("max_poll_interval", self.max_poll_interval, low=self.session_timeout, high=86400, why="session_timeout to a day")

    @property
    def heartbeat(self) -> float:
        """Seconds between heartbeats, derived where none is set."""
        return self.heartbeat_interval or min(HEARTBEAT_AT_MOST, self.session_timeout / 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """Which topics are made, and where reading starts."""

    topic_allow_declare: bool = True
    """Whether missing topics are created at start."""
    topic_partitions: int = 8
    """Partitions of a created topic whose declaration names no count, 1 to 10000. 8 is also Faust's, so a moved app keeps its
    counts."""
    topic_replication_factor: int = -1
    """Replicas of a created topic, 1 to 32767; -1: the broker's default, which its `min.insync.replicas` fits."""
    missing_topic: str = field(default="wait", metadata={"read": read_lower})
    """A source topic that nobody created: `wait` names it every few seconds until it is there, `fail` refuses the start."""
    auto_offset_reset: str = field(default="earliest", metadata={"read": read_lower})
    """Where a group without a committed offset starts, once per partition: `earliest`, `latest`, or `error` (stop and say so).
    `earliest` loses nothing."""

    def __post_init__(self) -> None:
        require_bool("topic_allow_declare", self.topic_allow_declare)
        require("topic_partitions", self.topic_partitions, low=1, high=10_000, whole=True)
        why = "-1: the broker's default"
        require("topic_replication_factor", self.topic_replication_factor, low=-1, high=32_767, why=why, whole=True)
        if self.topic_replication_factor == 0:
            raise ValueRefused("topic_replication_factor", 0, "must be -1 (the broker's default) or 1 to 32767")
        require_choice("missing_topic", self.missing_topic, ("wait", "fail"))
        require_choice("auto_offset_reset", self.auto_offset_reset, ("earliest", "latest", "error"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """How much a worker holds at once, and when it speaks up."""

    stream_buffer_maxsize: int = 4096
    """Records waiting per partition before it is paused, 1 to 1000000: memory, and what a rewind throws away."""
    consumer_max_fetch_size: int = 1_048_576
    """Bytes per partition and fetch, 1024 to 1000000000; a larger record still comes, alone. The default is Kafka's."""
    overlay_max_bytes: int = 67_108_864
    """Bytes of table writes that an open unit may hold before it is committed early, from 65536. 64 MiB: a commit that large
    still ends within a second."""
    agent_warning_after: float = 5.0
    """Seconds on one record after which log and status name it, from 0.01. Half the attempt timeout: named before it is cut off."""
    isolate_after: int = 3
    """Starts without progress after which a partition's records are tried one by one, to find one that kills the process;
    0 to 100, 0 = never. 3: two ends may be chance, and each costs a supervisor's back-off."""
    store: str = "rocksdb://"
    """Where tables live: `rocksdb://`, or `memory://` (rebuilt from the changelog on each start; for tests)."""
    rocksdb_memory_bytes: int = 134_217_728
    """Bytes that RocksDB may use for all tables of the worker together: write buffers and cached blocks, from 8388608. 128 MiB keep
    some two million small rows in memory and a worker below 250 MB; a table partition needs 0.5 MiB of it."""

    def __post_init__(self) -> None:
        require("stream_buffer_maxsize", self.stream_buffer_maxsize, low=1, high=1_000_000, whole=True)
        require("consumer_max_fetch_size", self.consumer_max_fetch_size, low=1024, high=1_000_000_000, whole=True)
        require("overlay_max_bytes", self.overlay_max_bytes, low=65_536, whole=True)
        require("agent_warning_after", self.agent_warning_after, low=0.01)
        require("isolate_after", self.isolate_after, low=0, high=100, whole=True)
        require_choice("store", self.store, ("rocksdb://", "memory://"))
        require("rocksdb_memory_bytes", self.rocksdb_memory_bytes, low=8_388_608, whole=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings:
    """How outputs are batched."""

    producer_linger: float = 0.01
    """Seconds that a batch waits to fill, 0 to a quarter of `transaction_timeout`. 5 % of the default commit interval, so latency
    stays the commit's."""
    producer_batch_size: int = 1_000_000
    """Bytes per batch, 1024 to 2147483647. librdkafka's own default."""
    producer_compression: str = field(default="lz4", metadata={"read": read_lower})
    """`none`, `gzip`, `snappy`, `lz4` or `zstd`. lz4 costs little CPU; zstd where the network is dearer."""
    producer_max_request_size: int = 1_000_000
    """Bytes of the largest record, 1000 to 1000000000. The default is below the broker's own (1048588)."""

    def __post_init__(self) -> None:
        require("producer_linger", self.producer_linger, low=0, high=225, bound="a quarter of transaction_timeout")
        require("producer_batch_size", self.producer_batch_size, low=1024, high=2_147_483_647, whole=True)
        require_choice("producer_compression", self.producer_compression, ("none", "gzip", "snappy", "lz4", "zstd"))
        require("producer_max_request_size", self.producer_max_request_size, low=1000, high=1_000_000_000, whole=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """The app-wide retry policy; an agent's own `Retry(…)` takes its place whole."""

    retry_attempts: int = 4
    """Calls for a transient failure, 1 to 20. One and three more: most blips end within a second."""
    retry_unknown_attempts: int = 2
    """Calls for an unknown failure, 1 to `retry_attempts`. A bug repeats and a blip does not: one more try tells them apart."""
    retry_base: float = 0.2
    """Seconds of the first wait at most, above 0. With factor 2: waits of at most 0.2, 0.4 and 0.8 s."""
    retry_factor: float = 2.0
    """What each wait is multiplied with, 1 to 100."""
    retry_cap: float = 10.0
    """Seconds of the longest wait, above 0, up to `retry_budget`."""
    retry_jitter: str = field(default="full", metadata={"read": read_lower})
    """`full`: a uniform share of the wait, so that workers do not return in step. `none`: the wait itself."""
    retry_budget: float = 15.0
    """Seconds from the start of the first attempt to the verdict, above 0, up to half of `transaction_timeout` and half of
    `max_poll_interval`: the verdict falls before the engine or the group gives up. Shrinks with them while nobody sets it."""
    retry_attempt_timeout: float = 10.0
    """Seconds that one call may take, above 0, bounded like `retry_budget`: a hung call must not hold its partition."""

    def __post_init__(self) -> None:
        require("retry_attempts", self.retry_attempts, low=1, high=20, whole=True)
        attempts = "retry_attempts at most"
        require("retry_unknown_attempts", self.retry_unknown_attempts, low=1, high=self.retry_attempts, why=attempts, whole=True)
        require("retry_base", self.retry_base, low=0, high=450, above=True)
        require("retry_factor", self.retry_factor, low=1, high=100)
        half = "half of the shorter of transaction_timeout and max_poll_interval"
        require("retry_budget", self.retry_budget, low=0, high=450, bound=half, above=True)
        require("retry_cap", self.retry_cap, low=0, high=self.retry_budget, why="retry_budget", above=True)
        require_choice("retry_jitter", self.retry_jitter, ("full", "none"))
        require("retry_attempt_timeout", self.retry_attempt_timeout, low=0, high=450, bound=half, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When an agent stops dead-lettering a partition, because the fault is not the records'."""

    breaker_enabled: bool = True
    """Whether there is a breaker at all."""
    breaker_transient: int = 10
    """Verdicts in a row, all transient, that open it; from 1. Ten records that each failed four times is an outage."""
    breaker_consecutive: int = 50
    """Verdicts in a row, transient or unknown, that open it; from 1. That many is a handler that fails on everything."""
    breaker_ratio: float = 0.20
    """Share of the last `breaker_last` records that opens it, above 0, up to 1."""
    breaker_last: int = 500
    """Records that `breaker_ratio` looks back on, from 1."""
    breaker_window: float = 60.0
    """Seconds that `breaker_ratio` looks back, above 0."""
    breaker_minimum: int = 50
    """Verdicts below which `breaker_ratio` does not count, 1 to `breaker_last`: no small samples."""
    breaker_probe_interval: float = 30.0
    """Seconds between attempts while it is open, above 0. Spares a sick dependency."""

    def __post_init__(self) -> None:
        require_bool("breaker_enabled", self.breaker_enabled)
        require("breaker_transient", self.breaker_transient, low=1, whole=True)
        require("breaker_consecutive", self.breaker_consecutive, low=1, whole=True)
        require("breaker_ratio", self.breaker_ratio, low=0, high=1, above=True)
        require("breaker_last", self.breaker_last, low=1, whole=True)
        require("breaker_window", self.breaker_window, low=0, above=True)
        require("breaker_minimum", self.breaker_minimum, low=1, high=self.breaker_last, why="breaker_last", whole=True)
        require("breaker_probe_interval", self.breaker_probe_interval, low=0, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The page, the metrics and the probes."""

    web_port: int = 6066
    """TCP port, 0 to 65535; 0 = no page, metrics or probes. Each worker of a machine has its own, or 0."""
    web_bind: str = "127.0.0.1"
    """Address to listen on. This machine only, unless somebody decides otherwise."""
    web_show_values: bool = False
    """Whether the page shows keys, values, messages and stacks: they may be private."""
    web_token: Secret | None = None
    """What a caller must present; None: read-only. `STREAMAPP_WEB_TOKEN_FILE` names a file that holds it instead."""
    web_peers: tuple[str, ...] = field(default=(), metadata={"read": read_list})
    """URLs of the other workers' pages, comma-separated; a worker knows only its own partitions."""
    web_url: str | None = None
    """URL under which other workers reach this one; None: derived from host name and port."""

    def __post_init__(self) -> None:
        require("web_port", self.web_port, low=0, high=65535, whole=True)
        require_match("web_bind", self.web_bind, r"[A-Za-z0-9_.:%\[\]-]{1,253}", "an address or a host name")
        require_bool("web_show_values", self.web_show_values)
        require_secret("web_token", self.web_token)
        must = "http:// or https:// URLs"
        if not isinstance(self.web_peers, tuple):
            raise ValueRefused("web_peers", self.web_peers, f"must be {must}, comma-separated")
        for peer in self.web_peers:
            require_match("web_peers", peer, r"https?://[!-~]+", must)
        require_match("web_url", self.web_url, r"https?://[!-~]+", "an http:// or https:// URL", optional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveSettings:
    """What operators see."""

    log_format: str = field(default="auto", metadata={"read": read_lower})
    """`json`: one object per line. `text`: for people. `auto`: text on a terminal, else json."""
    lag_sample_interval: float = 10.0
    """Seconds between samples of lag, 0.1 to 60. Half an hour of them is what the trend is computed from."""
    lag_drain_target: float = 900.0
    """Seconds in which the proposed number of workers would drain the lag, from 1. A coffee, not a shift."""
    otel_keys: bool = False
    """Whether traces carry record keys: they may be private."""
    dlq_redact: str | None = None
    """`module:function` that may rewrite message and stack of a dead letter; None: they stay."""
    dlq_compat: str | None = field(default=None, metadata={"read": read_lower})
    """`streams`: dead letters also carry Kafka Streams' six headers. None: ours only."""
    debug: bool = False
    """Faust's debug switch: tracebacks in commands."""

    def __post_init__(self) -> None:
        require_choice("log_format", self.log_format, ("auto", "json", "text"))
        require("lag_sample_interval", self.lag_sample_interval, low=0.1, high=60)
        require("lag_drain_target", self.lag_drain_target, low=1)
        require_bool("otel_keys", self.otel_keys)
        require_match("dlq_redact", self.dlq_redact, _FUNCTION, _MODULE_FUNCTION, optional=True)
        require_choice("dlq_compat", self.dlq_compat, ("streams",), optional=True)
        require_bool("debug", self.debug)
