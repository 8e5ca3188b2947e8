"""An order is accepted exactly when its contract says so: compared with a validation written from the contract alone."""

import calendar
import json
import re
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.order_models import Order, PricedOrder, SkuDemand, SkuTotal
from streamapp.errors import DecodeFailed, ValidationFailed
from streamapp.pipeline.decode import decoder_for, encoder_for, explain_decode_error

decode = decoder_for(Order)

GOOD: dict[str, Any] = {"order_id": "A-1", "customer": "ann", "sku": "S-9", "quantity": 2, "unit_price_cents": 450}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")


class Number(str):
    """A JSON number that is not written as an integer."""

    __slots__ = ()


def contract_accepts(raw: bytes) -> bool:
    def refuse(text: str) -> Any:
        raise ValueError(text)

    try:
        document = json.loads(raw.decode("utf-8"), parse_float=Number, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict):
        return False

    def is_name(name: str) -> Any:
        value = document.get(name)
        return type(value) is str and 1 <= len(value) <= 64 and not any("\ud800" <= c <= "\udfff" for c in value)

    def is_int(name: str, low: int, high: int) -> Any:
        value = document.get(name)
        return type(value) is int and low <= value <= high

    placed = document.get("placed_at")
    return (
        all(map(is_name, ("order_id", "customer", "sku")))
        and is_int("quantity", 1, 10_000)
        and is_int("unit_price_cents", 0, 100_000_000)
        and (placed is None or (type(placed) is str and is_time(placed)))
    )


def is_time(text: str) -> Any:
    if not RFC3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


def accepts(raw: bytes) -> bool:
    try:
        decode(raw)
    except Exception as exc:
        told = explain_decode_error(exc, Order, raw)
        return not isinstance(told, DecodeFailed)
    return True


def with_text(field: str, text: str) -> bytes:
    """An order whose `field` is written as `text`."""
    document = {name: json.dumps(value) for name, value in GOOD.items()} | {field: text}
    return ("{" + ",".join(f'"{name}":{value}' for name, value in document.items()) + "}").encode("utf-8", "surrogatepass")


numbers = st.one_of(
    st.integers().map(str),
    st.integers(-5, 10_005).map(str),
    st.integers(99_999_990, 100_000_010).map(str),
    st.floats().map(json.dumps),
    st.from_regex(r"-?[0-9]{1,6}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(
        ["1.0", "1e2", "true", "false", "null", '"1"', "-0", "01", "+1", "0x1", "NaN", "Infinity", "1.", "[1]", "{}", "9" * 400]
    ),
)
texts = st.one_of(
    st.text(max_size=70).map(json.dumps),
    st.text(min_size=60, max_size=68).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        ["null", "1", '"\\ud800"', '"\\udc00x"', '"\ud800"', '"a\nb"', '"\\u0000"', '"' + "😀" * 64 + '"', '"' + "😀" * 65 + '"']
    ),
)
times = st.one_of(
    st.datetimes(timezones=st.timezones()).map(lambda moment: json.dumps(moment.isoformat(timespec="seconds"))),
    st.datetimes().map(lambda moment: json.dumps(moment.isoformat())),
    st.sampled_from(
        [
            '"2026-02-30T00:00:00Z"',
            '"2026-01-01"',
            "0",
            "null",
            '"yesterday"',
            '"2026-01-01t00:00:00z"',
            '"2026-01-01T24:00:00Z"',
            "true",
        ]
    ),
)


@given(st.sampled_from(["quantity", "unit_price_cents"]), numbers)
@example("quantity", "1.0")
@example("quantity", "1e2")
@example("unit_price_cents", "-0")
def test_an_integer_is_a_json_integer_in_range(field: str, text: str) -> None:
    raw = with_text(field, text)
    assert accepts(raw) == contract_accepts(raw)


@given(st.sampled_from(["order_id", "customer", "sku"]), texts)
def test_a_name_has_1_to_64_code_points(field: str, text: str) -> None:
    raw = with_text(field, text)
    assert accepts(raw) == contract_accepts(raw)


@given(times)
def test_placed_at_is_a_time_with_a_zone_or_nothing(text: str) -> None:
    # isoformat writes offsets with seconds for some historic zones, which is no RFC 3339.
    raw = with_text("placed_at", text)
    assert accepts(raw) == contract_accepts(raw)


@given(st.dates())
@example(date(1900, 2, 28))
def test_placed_at_knows_every_day_and_no_other(day: date) -> None:
    for number in range(28, 33):
        raw = with_text("placed_at", f'"{day.year:04}-{day.month:02}-{number}T12:00:00Z"')
        assert accepts(raw) == (number <= calendar.monthrange(day.year, day.month)[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-12-31T23:59:60Z", True),
        ("2026-01-01T00:00:00.123456789Z", True),
        ("2026-01-01T00:00:00+23:59", True),
        ("2026-01-01T00:00:00+0100", False),
        ("2026-01-01T00:00:00+01", False),
        ("2026-01-01T00:00:00+24:00", False),
        ("2026-01-01T00:00:00.Z", False),
        ("2026-01-01T00:00Z", False),
        ("2026-01-01T00:00:00Z\\n", False),
        ("\u0662\u0660\u0662\u0666-01-01T00:00:00Z", False),
        ("x2026-01-01T00:00:00Z", False),
    ],
)
def test_placed_at_is_rfc_3339_to_the_letter(text: str, expected: bool) -> None:
    assert accepts(with_text("placed_at", f'"{text}"')) is expected


@given(st.sets(st.sampled_from(sorted(GOOD)), min_size=1))
def test_a_missing_field_or_null_is_missing(names: set[str]) -> None:
    left_out = {name: value for name, value in GOOD.items() if name not in names}
    for document in (left_out, left_out | dict.fromkeys(names)):
        raw = json.dumps(document).encode()
        with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever the library raises
            decode(raw)
        code = explain_decode_error(caught.value, Order, raw).code
        assert code in {f"missing:{name}" for name in names}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text().filter(lambda name: name not in {*GOOD, "placed_at"}), json_values, max_size=4))
def test_unknown_fields_are_ignored(more: dict[str, Any]) -> None:
    assert decode(json.dumps(more | GOOD, ensure_ascii=False).encode("utf-8")) == Order(**GOOD)


@settings(max_examples=300)
@given(st.binary(max_size=40), st.integers(0, 90))
@example(b"\xff", 1)
@example(b"\xef\xbb\xbf", 0)
@example(b"\0", 90)
@example(b"{}", 90)
def test_no_bytes_are_misread(noise: bytes, place: Any) -> None:
    good = json.dumps(GOOD).encode()
    for raw in (noise, good[:place] + noise + good[place:], good[:place] + noise):
        assert accepts(raw) == contract_accepts(raw)


@pytest.mark.parametrize("junk", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80"])
def test_broken_utf8_in_an_ignored_field_is_not_json(junk: bytes) -> None:
    raw = json.dumps(GOOD).encode()[:-1] + b',"note":"' + junk + b'"}'
    with pytest.raises(UnicodeDecodeError) as caught:
        decode(raw)
    assert explain_decode_error(caught.value, Order, raw).code == "not-json"


@pytest.mark.parametrize(
    ("field", "text", "code"),
    [
        ("quantity", "1.0", "mistyped:quantity"),
        ("quantity", "1e2", "mistyped:quantity"),
        ("quantity", "true", "mistyped:quantity"),
        ("quantity", '"1"', "mistyped:quantity"),
        ("quantity", "0", "out-of-range:quantity"),
        ("quantity", "10001", "out-of-range:quantity"),
        ("quantity", "9" * 400, "out-of-range:quantity"),
        ("quantity", "null", "missing:quantity"),
        ("sku", '""', "out-of-range:sku"),
        ("sku", "7", "mistyped:sku"),
        ("placed_at", '"2026-01-01T00:00:00"', "out-of-range:placed_at"),
        ("placed_at", '"soon"', "out-of-range:placed_at"),
        ("placed_at", "0", "mistyped:placed_at"),
    ],
)
def test_the_code_names_kind_and_field(field: str, text: str, code: str) -> None:
    raw = with_text(field, text)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        decode(raw)
    told = explain_decode_error(caught.value, Order, raw)
    assert isinstance(told, ValidationFailed)
    assert told.code == code


def test_outputs_have_exactly_their_fields() -> None:
    priced = PricedOrder("A-1", "ann", "S-9", 2, 900, 3, 10**20)
    assert json.loads(encoder_for(PricedOrder)(priced) or b"") == {
        "order_id": "A-1", "customer": "ann", "sku": "S-9", "quantity": 2, "total_cents": 900,
        "customer_order_count": 3, "customer_total_cents": 10**20,
    }  # fmt: skip
    assert encoder_for(SkuDemand)(SkuDemand("A-1", "é", 2)) == '{"order_id":"A-1","sku":"é","quantity":2}'.encode()
    assert encoder_for(SkuTotal)(SkuTotal("A-1", "S", 2)) == b'{"order_id":"A-1","sku":"S","total_quantity":2}'
