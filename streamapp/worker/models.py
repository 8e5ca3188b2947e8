"""faust.Record as a topic's type: read and written by the record's own codec, `__faust` kept.

Importing this module registers it with the decoders.
"""

from __future__ import annotations

import re
from typing import Any

from faust.exceptions import ValidationError
from faust.serializers import codecs
from faust.types.models import ModelT

from streamapp.errors import DecodeFailed, SettingInvalid, ValidationFailed
from streamapp.pipeline.decode import Codec, TypeCodec, explain_decode_error, register_codec


def is_faust_model(type_: object) -> bool:
    """Return whether `type_` is a faust.Record class, or another of Faust's models."""
    return isinstance(type_, type) and issubclass(type_, ModelT)


def faust_codec(type_: Any, serializer: Codec | None) -> TypeCodec:
    """Return the codec of a faust.Record: the record's own `serializer=` wins over the topic's, as in Faust; else JSON."""
    codec: Codec = named_codec(type_._options.serializer) or serializer or codecs.get_codec("json")
    loads, build = codec.loads, type_.from_data

    def decode(raw: bytes) -> Any:
        try:
            data = loads(raw)
        except MemoryError:
            raise
        except Exception as exc:
            raise explain_decode_error(exc, type_, raw) from exc
        try:
            return build(data, preferred_type=type_)
        except MemoryError:
            raise
        except Exception as exc:
            raise _explain(exc, type_, data) from exc

    def encode(value: Any) -> bytes:
        represent = getattr(value, "to_representation", None)
        return codec.dumps(value if represent is None else represent())

    return TypeCodec(decode, encode)


def named_codec(name: Any) -> Codec | None:
    """Return the codec of a serialiser's name (`pickle|binary`), or the codec given; None for None.

    Raises SettingInvalid: no codec has that name.
    """
    if not name:
        return None
    try:
        codec: Codec = codecs.get_codec(name)
    except (KeyError, TypeError) as exc:
        raise SettingInvalid(f"serializer {name!r}: no codec has that name") from exc
    return codec


def _explain(exc: Exception, type_: Any, data: object) -> DecodeFailed:
    name = type_.__name__
    if isinstance(exc, ValidationError):
        field = getattr(exc.field, "field", None) or "?"
        return ValidationFailed(f"{name}.{field} is refused by the model", code=f"rejected:{field}")
    if not isinstance(data, dict):
        return ValidationFailed(f"{name} has the wrong type: expected an object", code="mistyped")
    # Only a missing argument names its field, and only the model's own names are shown.
    absent = re.search(r"missing \d+ required \S+ arguments?: '(\w+)'", str(exc)) if isinstance(exc, TypeError) else None
    if absent and absent[1] in type_._options.fields:
        return ValidationFailed(f"{name}.{absent[1]} is missing", code=f"missing:{absent[1]}")
    return ValidationFailed(f"{name} is invalid", code="invalid")


register_codec(is_faust_model, faust_codec)

__all__ = ["faust_codec", "is_faust_model", "named_codec"]
