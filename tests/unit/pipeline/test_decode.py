"""Every kind of type is read and written, and what goes wrong is told without the value."""

import dataclasses
import json
import pickle
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.errors import DecodeFailed, OutputRejected, SettingInvalid, ValidationFailed
from streamapp.pipeline import decode as room
from streamapp.pipeline.decode import (
    TypeCodec,
    decoder_for,
    encoder_for,
    explain_decode_error,
    explainer_for,
    register_codec,
    takes_none,
)

SECRET = "4111111111111111"


class Colour(Enum):
    RED = "red"


class Line(msgspec.Struct):
    sku: str
    price: Annotated[int, msgspec.Meta(ge=0)]


class Basket(msgspec.Struct, forbid_unknown_fields=True):
    lines: list[Line] = []
    colour: Colour | None = None
    by_name: dict[str, int] = {}
    code: Annotated[str, msgspec.Meta(pattern="^x")] | None = None

    def __post_init__(self) -> None:
        if self.by_name.get("total", 0) > 100:
            raise ValueError(f"total {self.by_name['total']} of {SECRET} - at `$.{SECRET}`")


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Pair(TypedDict):
    a: int


class Account(pydantic.BaseModel):
    owner: str = pydantic.Field(max_length=5)
    balance: int
    limits: dict[str, int] = {}
    lines: list["Account"] = []

    @pydantic.field_validator("owner")
    @classmethod
    def not_root(cls, owner: str) -> Any:
        if owner == "root":
            raise ValueError(f"{owner} {SECRET}")
        return owner


class Pickled:
    loads = staticmethod(pickle.loads)
    dumps = staticmethod(pickle.dumps)


@pytest.mark.parametrize(
    ("type_", "raw", "value"),
    [
        (Line, b'{"sku":"a","price":1}', Line("a", 1)),
        (Point, b'{"x":1}', Point(1)),
        (Pair, b'{"a":1}', {"a": 1}),
        (Account, b'{"owner":"ann","balance":1}', Account(owner="ann", balance=1)),
        (dict, b'{"a":[1,null]}', {"a": [1, None]}),
        (list[int], b"[1]", [1]),
        (None, b'{"a":1.5}', {"a": 1.5}),
        (Any, b"null", None),
        (int, b"12", 12),
        (float, b"1", 1.0),
        (str, b'"12"', "12"),
        (bytes, b"\xff", b"\xff"),
        (Line | None, b"null", None),
    ],
    ids=str,
)
def test_each_kind_of_value(type_: Any, raw: bytes, value: Any) -> None:
    assert decoder_for(type_)(raw) == value


@pytest.mark.parametrize(
    ("type_", "raw", "key"),
    [(None, b"\xff", b"\xff"), (str, "é".encode(), "é"), (bytes, b"a", b"a"), (int, b"12", 12), (Pair, b'{"a":1}', {"a": 1})],
    ids=str,
)
def test_each_kind_of_key(type_: Any, raw: bytes, key: Any) -> None:
    assert decoder_for(type_, is_key=True)(raw) == key
    assert encoder_for(type_, is_key=True)(key) == raw


@given(st.text(st.characters(codec="utf-8")))
def test_a_str_is_quoted_as_value_and_raw_as_key(text: str) -> None:
    raw = encoder_for(str)(text)
    assert raw is not None
    assert (json.loads(raw), decoder_for(str)(raw)) == (text, text)
    assert encoder_for(str, is_key=True)(text) == text.encode()
    assert decoder_for(str, is_key=True)(text.encode()) == text


@pytest.mark.parametrize("type_", [None, Line, Account, str, bytes])
def test_none_and_bytes_pass_every_encoder(type_: Any) -> None:
    for is_key in (False, True):
        encode = encoder_for(type_, is_key=is_key)
        assert (encode(None), encode(b"\xff")) == (None, b"\xff")


def test_a_topic_without_a_type_takes_models_too() -> None:
    class FaustLike:
        def to_representation(self) -> Any:
            return {"a": 1, "__faust": {"ns": "x"}}

    encode = encoder_for(None)
    assert encode(Account(owner="ann", balance=1)) == b'{"owner":"ann","balance":1,"limits":{},"lines":[]}'
    assert encode([FaustLike()]) == b'[{"a":1,"__faust":{"ns":"x"}}]'
    assert encode(Decimal("1.5")) == b'"1.5"'


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}, "\ud800", 10**5000], ids=type)
def test_what_cannot_be_written_is_rejected(value: Any) -> None:
    with pytest.raises(OutputRejected) as caught:
        encoder_for(None)({"a": value} if type(value) is not dict else value)
    assert caught.value.__cause__ is not None
    with pytest.raises(OutputRejected):
        encoder_for(str, is_key=True)("\ud800")


def test_running_out_of_memory_is_no_rejected_output() -> None:
    def hook(value: Any) -> Any:
        raise MemoryError

    class Codec:
        loads = dumps = staticmethod(hook)

    with pytest.raises(MemoryError):
        encoder_for(None, serializer=Codec())({})


@pytest.mark.parametrize(
    ("type_", "stored", "value"),
    [
        (None, {"a": 1}, {"a": 1}), (Line, {"sku": "a", "price": 1}, Line("a", 1)), (int, b"5", 5), (float, "1.5", 1.5),
        (Decimal, b"1.5", Decimal("1.5")), (str, b"a", "a"), (bytes, "a", b"a"), (bytes, b"a", b"a"),
        (Account, {"owner": "ann", "balance": 1}, Account(owner="ann", balance=1)),
    ],
    ids=str,
)  # fmt: skip
def test_an_explicit_serializer_reads_and_writes(type_: Any, stored: Any, value: Any) -> None:
    assert decoder_for(type_, serializer=Pickled())(pickle.dumps(stored)) == value
    assert encoder_for(type_, serializer=Pickled())({"a": 1}) == pickle.dumps({"a": 1})


def test_what_a_serializer_gave_is_validated() -> None:
    with pytest.raises(ValidationFailed) as caught:
        decoder_for(Line, serializer=Pickled())(pickle.dumps({"sku": "a"}))
    assert caught.value.code == "missing:price"


def test_a_registered_type_has_its_own_codec(monkeypatch: Any) -> None:
    monkeypatch.setattr(room, "_registered", [])

    class Foreign:
        pass

    codec = TypeCodec(lambda raw: ("read", raw), lambda value: b"written")
    register_codec(lambda type_: type_ is Foreign, lambda type_, serializer: codec)
    assert decoder_for(Foreign)(b"x") == ("read", b"x")
    assert encoder_for(Foreign)(Foreign()) == b"written"
    assert decoder_for(int)(b"1") == 1


@pytest.mark.parametrize("type_", [Pickled, list[Pickled] | dict[str, int] | list[int], "Line"], ids=str)
def test_a_type_that_nothing_can_read_is_refused_at_once(type_: Any) -> None:
    with pytest.raises(SettingInvalid, match=r"^no codec for type"):
        decoder_for(type_)


@pytest.mark.parametrize(
    ("type_", "expected"),
    [(None, True), (bytes, True), (Any, True), (type(None), True), (Line | None, True), (Line, False), (str, False), (dict, False), (int | str, False)],
    ids=str,
)  # fmt: skip
def test_which_types_take_a_missing_value(type_: Any, expected: bool) -> None:
    assert takes_none(type_) is expected


def fails(type_: Any, raw: str | bytes, **options: Any) -> Any:
    data = raw.encode() if isinstance(raw, str) else raw
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever the library raises
        decoder_for(type_, **options)(data)
    told = explainer_for(type_, is_key=options.get("is_key", False))(caught.value, data)
    assert told.__cause__ is caught.value
    assert SECRET not in str(told) + told.code
    return told


@pytest.mark.parametrize(
    ("type_", "raw", "code"),
    [
        (Basket, "", "not-json"),
        (Basket, SECRET + "x", "not-json"),
        (Basket, b"\xff", "not-json"),
        (Basket, '{"lines":1,', "not-json"),
        (int, '"' + "[" * 10, "not-json"),
        (Basket, '{"code":"\xff"}'.encode("latin-1"), "not-json"),
        (None, "[" * 100_000, "too-deep"),
        (Account, "{", "not-json"),
        (Account, b'{"owner":"\xff"}', "not-json"),
    ],
    ids=repr,
)
def test_what_is_no_document(type_: Any, raw: bytes, code: str) -> None:
    told = fails(type_, raw)
    assert (type(told), told.code) == (DecodeFailed, code)


@pytest.mark.parametrize(
    ("type_", "raw", "code"),
    [
        (Basket, "[]", "mistyped"),
        (Basket, "null", "mistyped"),
        (Basket, '{"lines":[{"sku":"a","price":1},{"sku":"b"}]}', "missing:lines[].price"),
        (Basket, '{"lines":[{"sku":"a","price":-1}]}', "out-of-range:lines[].price"),
        (Basket, '{"lines":[{"sku":"a","price":null}]}', "missing:lines[].price"),
        (Basket, '{"lines":[{"sku":4,"price":1}]}', "mistyped:lines[].sku"),
        (Basket, f'{{"colour":"{SECRET}"}}', "out-of-range:colour"),
        (Basket, f'{{"code":"{SECRET}"}}', "out-of-range:code"),
        (Basket, f'{{"{SECRET}":1}}', "unknown-field"),
        (Basket, f'{{"by_name":{{"{SECRET}":"x"}}}}', "mistyped:by_name[]"),
        (Basket, '{"by_name":{"total":101}}', "rejected"),
        (list[Basket], '[{"by_name":{"total":101}}]', "rejected:[]"),
        (float, "1e999", "out-of-range"),
        (int, "1.0", "mistyped"),
        (dict[int, int], f'{{"x{SECRET}":1}}', "mistyped"),
        (Account, '{"balance":1}', "missing:owner"),
        (Account, '{"owner":"ann","balance":null}', "missing:balance"),
        (Account, f'{{"owner":"ann","balance":"x{SECRET}"}}', "mistyped:balance"),
        (Account, f'{{"owner":"{SECRET}","balance":1}}', "out-of-range:owner"),
        (Account, '{"owner":"root","balance":1}', "rejected:owner"),
        (Account, f'{{"owner":"ann","balance":1,"limits":{{"{SECRET}":"x"}}}}', "mistyped:limits[]"),
        (Account, '{"owner":"ann","balance":1,"lines":[{"owner":"b"}]}', "missing:lines[].balance"),
        (Account, "[]", "mistyped"),
    ],
    ids=repr,
)
def test_what_is_wrong_with_a_document(type_: Any, raw: bytes, code: str) -> None:
    told = fails(type_, raw)
    assert (type(told), told.code) == (ValidationFailed, code)


def test_the_text_names_the_field_and_what_was_expected() -> None:
    assert str(fails(Line, '{"sku":"a","price":-1}')) == "Line.price is out of range: expected `int` >= 0"
    assert str(fails(Line, '{"sku":"a"}')) == "Line.price is missing"
    assert str(fails(Line, "x")) == "the value is not JSON: byte 0"


def test_a_missing_value() -> None:
    told = explain_decode_error(None, Line, None)
    assert (told.code, str(told)) == ("no-value", "the value is missing")


def test_a_key_that_is_no_text() -> None:
    assert fails(str, b"\xff", is_key=True).code == "not-utf-8"
    assert fails(int, b"\xff", is_key=True).code == "not-json"


def test_what_is_explained_already_stays() -> None:
    known = ValidationFailed("known", code="x")
    assert explain_decode_error(known, Line, b"") is known


def test_the_failure_of_a_foreign_codec_is_not_quoted() -> None:
    told = explain_decode_error(RuntimeError(SECRET), Line, b"")
    assert (told.code, str(told)) == ("undecodable", "the value cannot be read as Line")
    assert explain_decode_error(json.JSONDecodeError("no", SECRET, 3), Line, b"").code == "not-json"


@given(st.binary() | st.text().map(str.encode) | st.recursive(
    st.none() | st.integers() | st.text() | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["lines", "sku", "price", "colour", "by_name", "owner"]), inner),
).map(lambda document: json.dumps(document).encode()))  # fmt: skip
def test_every_failure_is_explained(raw: bytes) -> None:
    for type_ in (Basket, Account, list[Line], Point):
        failure = None
        try:
            decoder_for(type_)(raw)
        except Exception as exc:
            failure = explain_decode_error(exc, type_, raw)
        assert failure is None or type(failure) in (DecodeFailed, ValidationFailed)
