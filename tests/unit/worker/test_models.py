"""faust.Record travels as it does between Faust apps."""

import json
from typing import Any

import faust
import pytest
from faust.models.fields import StringField

from streamapp.errors import DecodeFailed, SettingInvalid, ValidationFailed
from streamapp.pipeline.decode import decoder_for, encoder_for, explain_decode_error
from streamapp.worker.models import named_codec


def written(type_: Any, value: object, **options: Any) -> bytes:
    raw = encoder_for(type_, **options)(value)
    assert raw is not None
    return raw


SECRET = "4111111111111111"


class Payment(faust.Record, validation=True):
    amount: int
    payer: str = StringField(max_length=3, required=False, default="?")


class Blob(faust.Record, serializer="json|binary"):
    x: int


def test_a_record_keeps_its_namespace() -> None:
    raw = written(Payment, Payment(amount=1, payer="ann"))
    assert json.loads(raw) == {"amount": 1, "payer": "ann", "__faust": {"ns": Payment._options.namespace}}
    assert decoder_for(Payment)(raw) == Payment(amount=1, payer="ann")
    assert json.loads(written(None, Payment(amount=1)))["__faust"]


def test_the_records_own_serializer_wins() -> None:
    raw = written(Blob, Blob(x=1), serializer=named_codec("json"))
    assert not raw.startswith(b"{")
    assert decoder_for(Blob, serializer=named_codec("json"))(raw) == Blob(x=1)


def test_a_chain_of_codecs() -> None:
    codec = named_codec("json|binary")
    raw = written(Payment, Payment(amount=1), serializer=codec)
    assert not raw.startswith(b"{")
    assert decoder_for(Payment, serializer=codec)(raw) == Payment(amount=1)


@pytest.mark.parametrize("name", ["nope", "nope|json"])
def test_an_unknown_codec_is_refused(name: str) -> None:
    with pytest.raises(SettingInvalid):
        named_codec(name)


@pytest.mark.parametrize(
    ("raw", "kind", "code"),
    [
        (b"{", DecodeFailed, "not-json"),
        (b"\xff", DecodeFailed, "not-json"),
        (b"{}", ValidationFailed, "missing:amount"),
        (b"[1]", ValidationFailed, "mistyped"),
        (b'{"amount":"x4111111111111111"}', ValidationFailed, "invalid"),
        (b'{"amount":1,"payer":"4111111111111111"}', ValidationFailed, "rejected:payer"),
    ],
)
def test_failures_are_told_without_the_value(raw: bytes, kind: Any, code: str) -> None:
    with pytest.raises(DecodeFailed) as caught:
        decoder_for(Payment)(raw)
    told = explain_decode_error(caught.value, Payment, raw)
    assert told is caught.value
    assert (type(told), told.code) == (kind, code)
    assert SECRET not in str(told)
    assert told.__cause__ is not None
