"""What the app's settings and the record itself add to a dead letter: redaction, Kafka Streams' headers, the trace."""

from __future__ import annotations

import pytest

from streamapp.assembly import engine_settings
from streamapp.errors import Permanent, SettingInvalid
from streamapp.pipeline.dead_letter import read_dead_letter
from streamapp.records import Headers, Partition
from streamapp.settings import load
from tests.support.fakes import FakeBroker, record_at
from tests.support.pipeline import agent, each, running

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"00-" + TRACE + b"-b7ad6b7169203331-01"


def hide(message: str, stack: str) -> tuple[str, str]:
    return message.replace("4711", "****"), ""


async def refuse(value: bytes) -> None:
    raise Permanent("card 4711")


async def letter_of(broker: FakeBroker, headers: Headers | None = None, **settings: object) -> Headers:
    """Return the headers of the dead letter of a record with `headers`."""
    place = Partition("in", 0)
    broker.logs[place] = [record_at(place, 0, b"a", b"k", 0, headers)]
    async with running(agent(each(refuse)), broker=broker, **settings) as bench:  # type: ignore[arg-type]  # the engine's settings
        await bench.caught_up()
    (record,) = [each for transaction in broker.transactions for each in transaction.records if each[0] == "dlq"]
    return record[5]


async def test_a_redaction_reaches_every_letter() -> None:
    letter = read_dead_letter(await letter_of(FakeBroker(), dlq_redact=hide))
    assert letter is not None
    assert (letter.message, letter.stacktrace) == ("card ****", "")


async def test_streams_headers_are_written_where_they_are_wanted() -> None:
    names = {name for name, _ in await letter_of(FakeBroker(), dlq_streams_headers=True)}
    parts = ("exception", "message", "stacktrace", "topic", "partition", "offset")
    assert {name for name in names if name.startswith("__streams")} == {f"__streams.errors.{part}" for part in parts}
    assert not any(name.startswith("__streams") for name, _ in await letter_of(FakeBroker()))


@pytest.mark.parametrize(
    ("parent", "trace"),
    [
        (PARENT, TRACE.decode()),
        (b"01" + PARENT[2:] + b"-more", TRACE.decode()),
        (b"ff" + PARENT[2:], None),
        (PARENT.replace(TRACE, b"0" * 32), None),
        (PARENT.upper(), None),
        (b"", None),
        (None, None),
    ],
    ids=repr,
)
async def test_the_trace_of_the_record_is_told_where_it_has_one(parent: bytes | None, trace: str | None) -> None:
    headers = await letter_of(FakeBroker(), [("traceparent", parent)])
    letter = read_dead_letter(headers)
    assert letter is not None
    assert letter.trace_id == trace
    assert ("traceparent", parent) in headers


def test_settings_name_the_redaction_and_the_compatibility() -> None:
    settings = engine_settings(load({"app_id": "a", "dlq_redact": f"{__name__}:hide", "dlq_compat": "streams"}, {}, {}), "w1")
    assert settings.dlq_redact is hide
    assert settings.dlq_streams_headers
    without = engine_settings(load({"app_id": "a"}, {}, {}), "w1")
    assert (without.dlq_redact, without.dlq_streams_headers) == (None, False)


@pytest.mark.parametrize("named", ["no.such.module:hide", f"{__name__}:nobody", f"{__name__}:TRACE"])
def test_a_redaction_that_is_not_there_refuses_the_start(named: str) -> None:
    with pytest.raises(SettingInvalid, match=f"^STREAMAPP_DLQ_REDACT={named}: "):
        engine_settings(load({"app_id": "a", "dlq_redact": named}, {}, {}), "w1")
