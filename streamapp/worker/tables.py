"""Tables: a mapping to its users, bytes by the partition to the engine."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar, cast, overload

import faust
import msgspec
from mode.utils.trees import Node
from mode.utils.types.trees import NodeT

from streamapp.errors import ConfigurationError, OutsideWorker, TopologyInvalid
from streamapp.pipeline.decode import Decode, decoder_for, encoder_for
from streamapp.pipeline.spec import DedupeSpec, TableSpec
from streamapp.worker.models import is_faust_model, named_codec
from streamapp.worker.refusals import refuse
from streamapp.worker.table_sources import Reader

if TYPE_CHECKING:
    from streamapp.application import StreamApp

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

WINDOW_IDIOM = (
    'windowed tables are not built yet; put the window into the key: table[f"{key}@{int(timestamp // size)}"], '
    "with event.message.timestamp"
)
_UNSET: Any = object()
_PLAIN: frozenset[type] = frozenset({dict, list, tuple, int, float, str, bool, type(None)})
_encode_json = msgspec.json.Encoder(order="deterministic").encode


class Handle(Protocol):
    """The engine's end of a table."""

    def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes | None) -> None: ...

    def items(self) -> Iterable[tuple[bytes, bytes]]: ...


class _NoWorker:
    """The handle of a table while no engine runs."""

    def __init__(self, why: str) -> None:
        self._why = why

    def get(self, key: bytes) -> NoReturn:
        raise OutsideWorker(self._why)

    def put(self, key: bytes, value: bytes | None) -> NoReturn:
        raise OutsideWorker(self._why)

    def items(self) -> NoReturn:
        raise OutsideWorker(self._why)


class Table(MutableMapping[K, V], Generic[K, V]):
    """Keys and values that outlive the worker, partitioned as the topics whose agents use it.

    A read gives the record's own copy: changing it changes nothing until it is set again (`table[key] = value`). A missing key
    reads as `default()`, without a write. What a record wrote is kept if, and only if, the record is done.
    """

    def __init__(
        self,
        app: StreamApp,
        *,
        name: str,
        default: Callable[[], V] | None = None,
        key_type: Any = None,
        value_type: Any = None,
        key_serializer: Any = None,
        value_serializer: Any = None,
        source: Any = None,
        partitions: int | None = None,
        help: str | None = None,  # noqa: A002 - Faust's name
        changelog_config: Mapping[str, Any] | None = None,
    ) -> None:
        if key_serializer not in (None, "json"):
            refuse(f"table {name}: key_serializer={key_serializer!r}", "keys are JSON in the changelog; leave it out")
        self.app = app
        self.name = name
        self.default = default
        self.help = help or ""
        self.partitions = partitions
        self.key_type = key_type
        if value_type is None and _is_model(default):
            value_type = default
        self.value_type = value_type
        self.source = source
        self.changelog_config = {str(key): str(value) for key, value in (changelog_config or {}).items()}
        self._value_serializer = value_serializer
        self._checks_values = value_type is None and value_serializer is None
        self._decode_key: Decode = msgspec.json.Decoder(Any if key_type is None else key_type).decode
        self.release()

    # --- the engine's end

    def bind(self, handle: Handle) -> None:
        """Use the engine's end from now on."""
        codec = named_codec(None if self._value_serializer == "json" else self._value_serializer)
        self._encode = _table_encoder(self.value_type, codec)
        self._decode = _table_decoder(self.value_type, codec)
        self._handle: Handle = handle
        self._get = handle.get
        self._put = handle.put

    def release(self, why: str | None = None) -> None:
        """Forget the engine's end: from now on every use raises OutsideWorker."""
        nobody = _NoWorker(why or f"table {self.name} can only be used inside a running worker: in agents, timers and crontabs")
        self._handle = nobody
        # Values are encoded before the handle is asked, so this is where a write outside a worker arrives first.
        self._encode = self._decode = nobody.get
        self._get = self._handle.get
        self._put = self._handle.put

    # --- a mapping

    def __getitem__(self, key: K) -> V:
        raw = self._get(_encode_json(key))
        if raw is not None:
            return cast("V", self._decode(raw))
        if self.default is None:
            raise KeyError(key)
        return self.default()

    def __setitem__(self, key: K, value: V) -> None:
        if self._checks_values and type(value) not in _PLAIN:
            raise TypeError(
                f"table {self.name} has no value_type, so a {type(value).__name__} would come back as something else: "
                f"declare app.Table({self.name!r}, value_type={type(value).__name__})"
            )
        self._put(_encode_json(key), self._encode(value))

    def __delitem__(self, key: K) -> None:
        raw = _encode_json(key)
        if self._get(raw) is None:
            raise KeyError(key)
        self._put(raw, None)

    def __contains__(self, key: object) -> bool:
        return self._get(_encode_json(key)) is not None

    def __iter__(self) -> Iterator[K]:
        for raw, _ in iter(self._handle.items()):  # a handle has items only
            yield self._key(raw)

    def __len__(self) -> int:
        return sum(1 for _ in self._handle.items())

    def __bool__(self) -> bool:
        # A mapping without entries is false; asking a table for that would read all of it.
        return True

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: V) -> V: ...
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: Any = _UNSET) -> Any:
        """Return the value; where there is none `default` if given, else the table's own default, else None."""
        raw = self._get(_encode_json(key))
        if raw is not None:
            return self._decode(raw)
        if default is not _UNSET:
            return default
        return None if self.default is None else self.default()

    def pop(self, key: K, default: Any = _UNSET) -> Any:
        """Delete `key` and return its value; where there is none `default` if given, else KeyError."""
        raw_key = _encode_json(key)
        raw = self._get(raw_key)
        if raw is None:
            if default is _UNSET:
                raise KeyError(key)
            return default
        self._put(raw_key, None)
        return self._decode(raw)

    def setdefault(self, key: K, default: Any = None) -> Any:
        """Return the value; where there is none, write and return `default`."""
        raw = self._get(_encode_json(key))
        if raw is not None:
            return self._decode(raw)
        if default is None and self.default is not None:
            default = self.default()
        self[key] = default
        return default

    def items(self) -> _Pairs[K, V]:  # type: ignore[override]  # a view that reads once, in one pass
        """Iterate (key, value): in a record those of its partition, else those of every partition here."""
        return _Pairs(self)

    def values(self) -> Iterator[V]:  # type: ignore[override]  # as items
        for _, raw in iter(self._handle.items()):
            yield cast("V", self._decode(raw))

    def keys(self) -> Iterator[K]:  # type: ignore[override]  # as items
        return iter(self)

    def clear(self) -> None:
        """Delete every key of the record's partition."""
        for raw, _ in list(self._handle.items()):
            self._put(raw, None)

    def as_ansitable(self, *, key: str = "Key", value: str = "Value", title: str = "", sort: bool = False, **options: Any) -> str:
        """Return the content as a table for terminals."""
        from faust.utils import terminal  # noqa: PLC0415 - a terminal's

        rows = [(str(each), str(of)) for each, of in self.items()]
        return cast("str", terminal.table([(key, value), *(sorted(rows) if sort else rows)], title=title or self.name).table)

    def _key(self, raw: bytes) -> K:
        key = self._decode_key(raw)
        return cast("K", _hashable(key) if isinstance(key, list) else key)

    # --- where it lives

    @property
    def changelog_name(self) -> str:
        return f"{self.app.conf.id}-{self.name}-changelog"

    def reset_state(self) -> None:
        """Delete the table's local data; the changelog brings it back. Raises ConfigurationError while a worker runs."""
        self.app.reset_table(self.name)

    def source_topics(self) -> tuple[str, ...]:
        """Return the topics that `source=` names."""
        return self.app.topic_names(self.source)

    def spec(self, topics: Sequence[str], *, in_memory: bool) -> TableSpec:
        """Return the table as the engine runs it."""
        return TableSpec(
            name=self.name,
            topics=tuple(topics),
            changelog=self.changelog_name,
            in_memory=in_memory,
            changelog_config=self.changelog_config,
        )

    # --- what is not built

    def tumbling(self, *args: Any, **options: Any) -> NoReturn:
        refuse(f"table {self.name}: tumbling()", WINDOW_IDIOM)

    def hopping(self, *args: Any, **options: Any) -> NoReturn:
        refuse(f"table {self.name}: hopping()", WINDOW_IDIOM)

    def using_window(self, *args: Any, **options: Any) -> NoReturn:
        refuse(f"table {self.name}: using_window()", WINDOW_IDIOM)

    def join(self, *args: Any) -> NoReturn:
        refuse(f"table {self.name}: join()", "look the row up: row = table.get(key)")

    left_join = inner_join = outer_join = combine = join

    def on_recover(self, *args: Any) -> NoReturn:
        refuse(f"table {self.name}: on_recover", "app.task functions run once tables are restored")

    def __enter__(self) -> Table[K, V]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Faust's tables are context managers; nothing is held."""

    def __repr__(self) -> str:
        return f"<table {self.name}>"


class _Pairs(Generic[K, V]):
    """`table.items()`: iterate it, or ask its length."""

    __slots__ = ("_table",)

    def __init__(self, table: Table[K, V]) -> None:
        self._table = table

    def __iter__(self) -> Iterator[tuple[K, V]]:
        table = self._table
        for raw_key, raw in table._handle.items():
            yield table._key(raw_key), table._decode(raw)

    def __len__(self) -> int:
        return len(self._table)


class DedupeTable:
    """Which records were already processed, for `horizon` seconds of event time. Use: `@app.agent(…, dedupe=table.by(function))`."""

    def __init__(self, app: StreamApp, *, name: str, horizon: float, source: Any = None, help: str | None = None) -> None:  # noqa: A002 - Faust's name
        if not horizon > 0:
            raise ConfigurationError(f"dedupe table {name}: horizon={horizon!r}: must be seconds above 0")
        self.app = app
        self.name = name
        self.horizon = float(horizon)
        self.source = source
        self.help = help or "Keys of records that were processed"

    def by(self, key: Callable[[Any], Any]) -> DedupeKey:
        """Return this table with the function that names what must be unique: `processed.by(lambda order: order.order_id)`."""
        if not callable(key):
            raise ConfigurationError(f"dedupe table {self.name}: by() wants a function of the value")
        return DedupeKey(self, key)

    @property
    def changelog_name(self) -> str:
        return f"{self.app.conf.id}-{self.name}-changelog"

    def reset_state(self) -> None:
        """Delete the table's local data; the changelog brings it back. Raises ConfigurationError while a worker runs."""
        self.app.reset_table(self.name)

    def source_topics(self) -> tuple[str, ...]:
        return self.app.topic_names(self.source)

    def spec(self, topics: Sequence[str], *, in_memory: bool) -> TableSpec:
        """Return the table as the engine runs it."""
        return TableSpec(
            name=self.name, topics=tuple(topics), changelog=self.changelog_name, in_memory=in_memory, horizon=self.horizon
        )

    def bind(self, handle: Handle) -> None:
        """The engine reads and writes marks itself."""

    def release(self, why: str | None = None) -> None:
        """Nothing is held."""

    def __repr__(self) -> str:
        return f"<dedupe table {self.name}, {self.horizon:g} s>"


@dataclass(frozen=True, slots=True)
class DedupeKey:
    """A dedupe table and what must be unique in it."""

    table: DedupeTable
    function: Callable[[Any], Any]

    def spec(self) -> DedupeSpec:
        return DedupeSpec(table=self.table.name, key=self.function, encode=_encode_json)


class Tables(dict[str, "Table[Any, Any] | DedupeTable"]):
    """`app.tables`: every declared table by its name."""

    def __init__(self, app: StreamApp) -> None:
        super().__init__()
        self.app = app
        self.beacon: NodeT[Any] = Node(self)

    def add(self, table: Any) -> Any:
        """Register a table. Raises TopologyInvalid: its name is taken."""
        if table.name in self:
            raise TopologyInvalid(f"two tables are called {table.name}")
        self[table.name] = table
        return table

    def __hash__(self) -> int:  # type: ignore[override]  # Faust's graph of services keeps it as a node
        return id(self)


# --- which topics a table belongs to


def touched_by(*roots: Any) -> list[Any]:
    """Return the tables that functions (and what they reach in the project) can touch."""
    from streamapp.worker.agents import Agent  # noqa: PLC0415 - agents use tables
    from streamapp.worker.topics import Topic  # noqa: PLC0415

    # An agent or topic that a function sends to is another record's business, and an app of a class of the project's own
    # would lead to every table that there is.
    opaque = (Agent, Topic, DedupeKey, faust.App)
    reader = Reader(lambda item: isinstance(item, (Table, DedupeTable)), lambda item: isinstance(item, opaque))
    return reader.reach(*roots)


def function_of(function: Any) -> Any:
    """Return the function inside partials and wrappers."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


# --- codecs


def _table_encoder(type_: Any, codec: Any) -> Callable[[Any], bytes]:
    """Return the value's encoder. A None is JSON's null, since a missing value is a deletion; bytes are JSON text."""
    if codec is not None:
        return cast("Callable[[Any], bytes]", codec.dumps)
    if type_ is bytes:
        return msgspec.json.Encoder().encode
    encode = encoder_for(type_)

    def encoded(value: Any) -> bytes:
        raw = None if value is None or type(value) is bytes else encode(value)
        return _encode_json(value) if raw is None else raw

    return encoded


def _table_decoder(type_: Any, codec: Any) -> Decode:
    if codec is not None:
        return cast("Decode", codec.loads if type_ is None else decoder_for(type_, serializer=codec))
    if type_ is bytes:
        return msgspec.json.Decoder(bytes).decode
    if type_ is None or is_faust_model(type_) or hasattr(type_, "model_validate_json"):
        return decoder_for(type_)
    # What we wrote is UTF-8, so the check that a topic's decoder adds is not needed here.
    decoder_for(type_)
    return msgspec.json.Decoder(type_).decode


def _hashable(value: Any) -> Any:
    return tuple(_hashable(each) for each in value) if isinstance(value, list) else value


def _is_model(default: Any) -> bool:
    return isinstance(default, type) and (
        issubclass(default, msgspec.Struct)
        or dataclasses.is_dataclass(default)
        or is_faust_model(default)
        or hasattr(default, "model_validate_json")
    )


__all__ = ["DedupeKey", "DedupeTable", "Handle", "Table", "Tables", "function_of", "touched_by"]
