"""Topics: Faust's declaration, our codecs and our way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from re import Pattern
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack, cast

import faust
from faust.types import FutureMessage, RecordMetadata

from streamapp.errors import OutputRejected, UsageError
from streamapp.pipeline.decode import Codec, Encode, decoder_for, encoder_for, explainer_for, takes_none
from streamapp.pipeline.savepoint import current_savepoint
from streamapp.pipeline.spec import SourceSpec
from streamapp.worker.handover import Delivery, HandedOver, as_headers, hand_over
from streamapp.worker.models import named_codec
from streamapp.worker.refusals import refuse

if TYPE_CHECKING:
    from streamapp.application import StreamApp

NO_SCHEMA = "give key_type, value_type and serializers to the topic"


class SendOptions(TypedDict, total=False):
    """What a send takes besides key and value."""

    partition: int | None
    timestamp: float | None
    """Seconds since 1970; else the time of the record in hand."""
    headers: Any
    schema: Any
    key_serializer: Any
    value_serializer: Any
    callback: Any
    force: bool


class Topic(faust.Topic):
    """A topic, or several with one meaning: what agents read and everybody sends to."""

    app: StreamApp
    is_dead_letter_topic = False
    """Whether an agent's dead letters go here; known once the app starts."""

    def __init__(
        self, app: Any, *, pattern: str | Pattern[str] | None = None, acks: bool = True, schema: Any = None, **options: Any
    ) -> None:
        if pattern is not None:
            refuse("topic(pattern=…)", 'name the topics: app.topic("a", "b")')
        if not acks:
            refuse("topic(acks=False)", "every record that was read is committed; leave acks out")
        # Faust's schema asks the app for its settings; ours wait until the topic is used, so that importing a module needs none.
        self._given_schema = schema
        self._value_serializer = options.get("value_serializer")
        self._key_serializer = options.get("key_serializer")
        super().__init__(app, schema=schema, **options)
        if len(set(self.topics)) != len(self.topics):
            raise UsageError(f"topic({', '.join(map(repr, self.topics))}): a name stands there twice")
        self._name = self.topics[0] if len(self.topics) == 1 else None
        self._handed_over = HandedOver(self._name or ",".join(self.topics))
        self._encode_value: Encode = self._first_value
        self._encode_key: Encode = self._first_key

    def _compile_decode(self) -> None:
        """Leave out Faust's decoder: the engine decodes with ours."""

    def _get_default_schema(self, *types: Any, **options: Any) -> Any:
        names = ("key_type", "value_type", "key_serializer", "value_serializer", "allow_empty")
        return self.app.schema_class(**{**dict(zip(names, types, strict=False)), **options})

    # --- codecs

    def _codec(self, *, is_key: bool) -> Codec | None:
        if is_key:
            name = self.schema.key_serializer or self.app.default_serializer(is_key=True)
        else:
            name = self.schema.value_serializer or self.app.default_serializer(is_key=False)
        return named_codec(name)

    def _first_value(self, value: Any) -> bytes | None:
        self._encode_value = self._schema_encoder(is_key=False) or encoder_for(
            self.value_type, serializer=self._codec(is_key=False)
        )
        return self._encode_value(value)

    def _first_key(self, key: Any) -> bytes | None:
        self._encode_key = self._schema_encoder(is_key=True) or encoder_for(
            self.key_type, serializer=self._codec(is_key=True), is_key=True
        )
        return self._encode_key(key)

    def _schema_encoder(self, *, is_key: bool) -> Encode | None:
        """Return the encoder of a Schema class of the user's own; None where it is Faust's."""
        if type(self.schema) is faust.Schema:
            return None
        dumps = self.schema.dumps_key if is_key else self.schema.dumps_value

        def encode(value: Any) -> bytes | None:
            if value is None or type(value) is bytes:
                return value
            try:
                payload, _ = dumps(self.app, value, serializer=None, headers={})
            except Exception as failure:
                raise OutputRejected(
                    f"a {type(value).__name__} cannot be serialised by {type(self.schema).__name__}"
                ) from failure
            return payload.encode() if isinstance(payload, str) else cast("bytes", payload)

        return encode

    def source(self, name: str) -> SourceSpec:
        """Return how the records of topic `name` become values. Raises SettingInvalid: nothing can read the type."""
        if type(self.schema) is not faust.Schema:
            refuse(f"schema={type(self.schema).__name__}(…) on a topic that an agent reads", NO_SCHEMA)
        return SourceSpec(
            topic=name,
            decode=decoder_for(self.value_type, serializer=self._codec(is_key=False)),
            takes_none=bool(self.allow_empty) or takes_none(self.value_type),
            explain=explainer_for(self.value_type),
            decode_key=decoder_for(self.key_type, serializer=self._codec(is_key=True), is_key=True),
        )

    # --- sending

    async def send(self, *, key: Any = None, value: Any = None, **options: Unpack[SendOptions]) -> HandedOver | Delivery:
        """Send one record: with the record in hand if there is one, else with the worker's transaction, else by a producer.

        Inside a worker it leaves with the commit, and awaiting the result does not wait for that (its offset is -1). In a script
        the result is the delivery. Raises OutputRejected, SavepointEnded.
        """
        # The hot path: two encodes, one call. Each option with a default of its own would cost 10 ns, given or not.
        savepoint = current_savepoint.get()
        if options or savepoint is None or self._name is None:
            return self.send_soon(key=key, value=value, **options)
        savepoint.send_on(self._name, self._encode_value(value), self._encode_key(key))
        return self._handed_over

    def send_soon(  # type: ignore[override]  # as in send
        self,
        *,
        key: Any = None,
        value: Any = None,
        partition: int | None = None,
        timestamp: float | None = None,
        headers: Any = None,
        schema: Any = None,
        key_serializer: Any = None,
        value_serializer: Any = None,
        callback: Any = None,
        force: bool = False,
        eager_partitioning: bool = False,
    ) -> HandedOver | Delivery:
        """As `send`, for functions that are not async."""
        name = self._name or self.get_topic_name()
        if schema is not None:
            refuse("send(schema=…)", NO_SCHEMA)
        encode_key = self._encode_key
        if key_serializer is not None:
            encode_key = encoder_for(self.key_type, serializer=named_codec(key_serializer), is_key=True)
        encode_value = self._encode_value
        if value_serializer is not None:
            encode_value = encoder_for(self.value_type, serializer=named_codec(value_serializer))
        if callback is not None and (current_savepoint.get() is not None or self.app.engine is not None):
            refuse("send(callback=…) inside a worker", "a record's outputs leave with its commit, after the agent went on")
        sent = hand_over(
            self.app,
            self._handed_over if name == self._name else HandedOver(name),
            encode_value(value),
            encode_key(key),
            partition=partition,
            timestamp=timestamp,
            headers=as_headers(headers),
        )
        if callback is not None:
            sent.add_done_callback(callback)
        return sent

    def forward(self, value: bytes | None, key: bytes | None, headers: Any, **place: Any) -> HandedOver | Delivery:
        """Send bytes as they are, with exactly these headers."""
        return hand_over(
            self.app, self._handed_over, value, key, headers=as_headers(headers), exact_headers=True,
            partition=place.get("partition"), timestamp=place.get("timestamp"),
        )  # fmt: skip

    def encoded_key(self, key: Any) -> bytes | None:
        """Return `key` as it stands in Kafka."""
        return self._encode_key(key)

    def encoded_value(self, value: Any) -> bytes | None:
        """Return `value` as it stands in Kafka."""
        return self._encode_value(value)

    # --- what Faust's record path did with topics

    async def put(self, event: Any) -> NoReturn:
        refuse("topic.put(event)", "topic.send(…) reaches every reader; in tests use agent.test_context()")

    async def publish_message(self, fut: FutureMessage, wait: bool = False) -> NoReturn:
        refuse("topic.publish_message(…)", "use topic.send(…)")

    def as_future_message(self, *args: Any, **options: Any) -> NoReturn:
        refuse("topic.as_future_message(…)", "use topic.send(…)")

    async def get(self, **options: Any) -> NoReturn:
        refuse("topic.get()", "read the topic with an agent")

    def stream(self, **options: Any) -> NoReturn:
        refuse("topic.stream()", "read the topic with an agent: @app.agent(topic)")

    def __aiter__(self) -> NoReturn:
        refuse("async for … in topic", "read the topic with an agent: @app.agent(topic)")

    async def declare(self) -> None:
        """Create the topic if it is missing."""
        await self.app.declare_topic(self)

    async def maybe_declare(self) -> None:
        """Create the topic if it is missing."""
        await self.app.declare_topic(self)

    def topic_config(self) -> Mapping[str, str]:
        """Return the topic's settings as Kafka names them: retention, compacting, deleting and `config=`."""
        config = {str(name): str(value) for name, value in (self.config or {}).items()}
        if self.retention is not None:
            seconds = self.retention.total_seconds() if hasattr(self.retention, "total_seconds") else float(self.retention)
            config.setdefault("retention.ms", str(int(seconds * 1000)))
        policies = [name for name, wanted in (("compact", self.compacting), ("delete", self.deleting)) if wanted]
        if policies:
            config.setdefault("cleanup.policy", ",".join(policies))
        return config

    def derive_topic(self, *, topics: Sequence[str] | None = None, prefix: str = "", suffix: str = "", **options: Any) -> Any:
        """Return a topic like this one but for what is given."""
        names = [f"{prefix}{name}{suffix}" for name in (self.topics if topics is None else topics)]
        given = {name: value for name, value in options.items() if value is not None}
        kept = {
            "key_type": self.key_type,
            "value_type": self.value_type,
            "key_serializer": self._key_serializer,
            "value_serializer": self._value_serializer,
            "partitions": self.partitions,
            "retention": self.retention,
            "compacting": self.compacting,
            "deleting": self.deleting,
            "config": self.config,
            "internal": self.internal,
            "has_prefix": bool(self.has_prefix or prefix),
        }
        return type(self)(self.app, topics=names, **{**kept, **given})


__all__ = ["RecordMetadata", "Topic"]
