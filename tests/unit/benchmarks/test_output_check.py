"""An output with one record too few, too many, changed, out of its order or under another key is wrong; a right one is right."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.benchmarks.checking import Due, OutputWrong, order_id_of, require_records
from tests.benchmarks.contenders import FLOOR, STREAMAPP, Contender
from tests.benchmarks.jobs import AWAIT, DEDUPE, MAP, ORDERS, Job
from tests.benchmarks.workload import some_orders
from tests.support.orders import Fed

Out = list[tuple[bytes | None, bytes]]

RECORDS = list(some_orders(200, seed=1, resent=0.2))
DUE = Due.of(RECORDS)


def contender(job: Job, *, dedupes: bool = True) -> Contender:
    return Contender(STREAMAPP if dedupes else FLOOR, (), job, dedupes=dedupes)


def sent_on(records: list[Fed], *, once: bool) -> Out:
    seen: set[bytes | None] = set()
    out: Out = []
    for fed in records:
        if once and fed.value in seen:
            continue
        seen.add(fed.value)
        out.append((fed.key, fed.value or b""))
    return out


def totalled(out: Out) -> Out:
    def value(text: bytes) -> bytes:
        fields = json.loads(text)
        return json.dumps(fields | {"total_cents": fields["quantity"] * fields["unit_price_cents"]}).encode()

    return [(key, value(text)) for key, text in out]


RIGHT: dict[str, tuple[Contender, Out]] = {
    "dedupe": (contender(DEDUPE), sent_on(RECORDS, once=True)),
    "copied": (contender(DEDUPE, dedupes=False), sent_on(RECORDS, once=False)),
    "awaited": (contender(AWAIT), sent_on(RECORDS, once=False)),
    "map": (contender(MAP), totalled(sent_on(RECORDS, once=False))),
    "orders": (contender(ORDERS), sent_on(RECORDS, once=True)),
}


def rewritten(out: Out, at: int, **fields: object) -> Out:
    return [*out[:at], (out[at][0], json.dumps(json.loads(out[at][1]) | fields).encode()), *out[at + 1 :]]


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_job_asks_for_is_right(name: str) -> None:
    one, out = RIGHT[name]
    require_records(one, DUE, out)


def test_a_field_without_a_value_and_other_blanks_change_nothing() -> None:
    one, out = RIGHT["dedupe"]
    require_records(
        one, DUE, [(key, json.dumps(json.loads(value) | {"placed_at": None}, indent=1).encode()) for key, value in out]
    )


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize(
    "spoil",
    [lambda out: out[:-1], lambda out: [*out, out[0]], lambda out: rewritten(out, 7, order_id="unheard of")],
    ids=["dropped", "doubled", "invented"],
)
def test_a_record_too_few_or_too_many_is_wrong(name: str, spoil: Callable[[Out], Out]) -> None:
    one, out = RIGHT[name]
    with pytest.raises(OutputWrong, match=r"lacks \d+ records .* and has \d+ too many"):
        require_records(one, DUE, spoil(out))


def test_a_resent_record_that_passes_the_dedupe_is_wrong() -> None:
    with pytest.raises(OutputWrong, match="lacks 0 records"):
        require_records(contender(DEDUPE), DUE, sent_on(RECORDS, once=False))


@pytest.mark.parametrize("name", ["dedupe", "copied", "awaited", "map"])
@pytest.mark.parametrize("fields", [{"quantity": 10}, {"note": "more"}, {"sku": None}])
def test_a_changed_field_is_wrong(name: str, fields: dict[str, object]) -> None:
    one, out = RIGHT[name]
    with pytest.raises(OutputWrong, match="1 records with other fields"):
        require_records(one, DUE, rewritten(out, 3, **fields))


def test_an_untouched_record_is_wrong_where_a_field_was_to_be_added() -> None:
    with pytest.raises(OutputWrong, match="with other fields"):
        require_records(contender(MAP), DUE, sent_on(RECORDS, once=False))


def test_two_records_of_a_key_in_the_other_order_are_wrong() -> None:
    one, out = RIGHT["dedupe"]
    key = next(key for key, _ in out if sum(each == key for each, _ in out) > 1)
    first, second = [at for at, (each, _) in enumerate(out) if each == key][:2]
    swapped = list(out)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    with pytest.raises(OutputWrong, match="in their order"):
        require_records(one, DUE, swapped)


def test_a_record_under_another_key_is_wrong() -> None:
    one, out = RIGHT["dedupe"]
    with pytest.raises(OutputWrong, match="under that key"):
        require_records(one, DUE, [(None, out[0][1]), *out[1:]])


def test_an_order_id_is_found_however_the_document_is_written() -> None:
    assert order_id_of(b'{"order_id":"0001","x":1}') == "0001"
    assert order_id_of(b'{"sku": "s", "order_id" : "0002"}') == "0002"
    with pytest.raises(OutputWrong, match="without order_id"):
        order_id_of(b"{}")
