"""The screens of `streamapp dlq` and its JSON, on a Kafka in memory and at a fixed time; each exit code, and what is kept from eyes."""

from __future__ import annotations

import io
import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click
import msgspec
import pytest
import rich.console
from click.testing import CliRunner, Result

import streamapp.cli.dlq as dlq_command
from streamapp.cli import main
from streamapp.cli.scope import Scope
from streamapp.dlq.filters import Filters
from streamapp.dlq.subject import Subject
from streamapp.pipeline.decode import decoder_for, explainer_for
from streamapp.pipeline.resolution import Job, JobState, Status
from streamapp.pipeline.spec import AgentSpec, SourceSpec
from streamapp.records import Partition
from streamapp.settings import load
from tests.support.dead_letter_world import APP, DLQ, NOW, DeadLetterWorld, ago

OPEN, AGAIN = "orders/3/1842@order_processor", "orders/5/901@order_processor"
VALUE = b'{"order_id":"A-77120","customer":"cust-0007","sku":"S-9","quantity":2,"unit_price_cents":450}'
STACK = "\n".join(
    (
        "builtins.TimeoutError: price service did not answer in 2.0 s",
        "  agents/order_processor.py:41 price",
        "  agents/order_processor.py:27 order_processor",
        *(f"  engine.py:{number} step" for number in range(10)),
        "caused by builtins.ConnectionRefusedError: [Errno 111]",
        "  socket.py:7 connect",
        "  socket.py:9 dial",
    )
)


class Order(msgspec.Struct):
    order_id: str
    quantity: int


async def _nothing(cursor: object) -> None:
    """An agent that is only described."""


def subject_with(**more: Any) -> Subject:
    settings = load({"app_id": APP, "broker": "127.0.0.1:1"}, {}, {})
    orders = SourceSpec(topic="orders", decode=decoder_for(Order), explain=explainer_for(Order))
    letters = SourceSpec(topic=DLQ, decode=bytes, takes_none=True)
    agents = (
        AgentSpec(name="order_processor", sources=(orders,), run=_nothing, dlq=DLQ),
        AgentSpec(name="dead_letter_triage", sources=(letters,), run=_nothing),
    )
    return replace(Subject(settings=settings, agents={agent.name: agent for agent in agents}), **more)


class Terminal:
    """Runs commands on one world, at NOW, in a pipe or on a terminal."""

    def __init__(self, world: DeadLetterWorld, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.subject = world, subject
        self._monkeypatch = monkeypatch

        @contextmanager
        def memory(subject: Subject, timeout: float) -> Iterator[object]:
            yield world.reader

        monkeypatch.setattr(dlq_command, "inspector_of", memory)
        monkeypatch.setattr(dlq_command, "subject_here", lambda scope: self.subject)
        monkeypatch.setattr(dlq_command, "now", NOW.timestamp)

    def run(self, *command: str) -> Result:
        return CliRunner().invoke(main, ["dlq", *command])

    def documents(self, *command: str, code: int = 0) -> list[dict[str, Any]]:
        done = self.run(*command, "--json")
        assert done.exit_code == code, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    def screen(self, *command: str) -> str:
        """Return what a terminal shows, without its colours."""
        shown = io.StringIO()
        console = rich.console.Console(file=shown, force_terminal=True, color_system=None, width=60)
        with self._monkeypatch.context() as patched:
            patched.setattr(dlq_command, "_console", lambda: console)
            done = self.run(*command)
        assert done.exit_code == 0, done.output
        return shown.getvalue() + done.stdout


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The letters of OPERATIONS §2.2."""
    world = DeadLetterWorld()
    world.bury(
        OPEN, failed=ago(hours=19, minutes=4, seconds=30), key=b"cust-0193", value=b'{"order_id":"A-1","quantity":-1}',
        stage="validate", reason="permanent", attempts="1", exception__type="streamapp.errors.OrderInvalid",
        exception__message="Order.quantity is out of range: expected `int` >= 1", exception__fingerprint="9c1f04be77a2",
    )  # fmt: skip
    first = ago(hours=2, minutes=18, seconds=50.598)
    world.bury(AGAIN, failed=first, key=b"cust-0007", value=VALUE)
    for number in range(12):
        world.bury(f"orders/5/{300 + number}@order_processor", failed=ago(hours=40), key=b"cust-0007", value=VALUE)
        world.resolve(f"orders/5/{300 + number}@order_processor", Status.RESOLVED, outcome="processed")
    world.bury(
        AGAIN, failed=ago(minutes=6, seconds=21.98), first_failed=first, key=b"cust-0007", value=VALUE,
        source__timestamp="1795413669114", position="orders/5/2210", replay_count="1", replay_of=AGAIN,
        replayed_at="2026-11-23T08:13:31.000Z", exception__cause="ConnectionRefusedError: [Errno 111]",
        exception__stacktrace=STACK,
    )  # fmt: skip
    world.resolve(AGAIN, Status.REOPENED, job="7f3a", replays=1)
    world.say(
        "7f3a",
        Job(
            dlq=DLQ, state=JobState.STOPPED, operator="ops", scope="orders/5/901", target="source", started=ago(minutes=7), at=NOW,
            matched=1, sent=1, reopened=1, reason="1 reopened",
        ),
    )  # fmt: skip
    return Terminal(world, subject_with(), monkeypatch)


# --- list


def test_the_list_is_as_operations_shows_it(terminal: Terminal) -> None:
    terminal.world.bury("orders/1/7@order_processor", failed=ago(minutes=1))
    assert terminal.screen("list", "--limit", "2").splitlines() == [
        "orders-dlq: 15 dead letters, 3 unresolved, oldest 19h04m; retention deletes it in 29d4h",
        "ID             AGE     AGENT            STAGE     ERROR                  ATTEMPTS  REPLAYS  STATUS    FINGERPRINT   KEY",
        "orders/3/1842  19h04m  order_processor  validate  OrderInvalid quantity  1         0        open      9c1f04be77a2  cust-0193",
        "orders/5/901   2h18m   order_processor  handler   TimeoutError           4         1        reopened  51d0a7e2c3f8  cust-0007",
        "2 of 3 shown; --limit 3 shows all",
    ]


def test_a_pipe_gets_tab_separated_rows_and_nothing_else(terminal: Terminal) -> None:
    done = terminal.run("list")
    assert [line.split("\t")[:3] for line in done.stdout.splitlines()] == [
        ["orders/3/1842", "19h04m", "order_processor"],
        ["orders/5/901", "2h18m", "order_processor"],
    ]


def test_the_list_as_json_has_stable_names_seconds_and_nulls(terminal: Terminal) -> None:
    topic, first, _ = terminal.documents("list")
    assert topic == {
        "kind": "topic",
        "dlq": DLQ,
        "letters": 14,
        "unresolved": 2,
        "oldest_id": OPEN,
        "oldest_age": 68_670.0,
        "deleted_in": 30 * 86_400 - 68_670.0,
    }
    assert first == {
        "kind": "letter",
        "id": OPEN,
        "dlq": "orders-dlq/3/0",
        "source": "orders/3/1842",
        "position": "orders/3/1842",
        "agent": "order_processor",
        "stage": "validate",
        "reason": "permanent",
        "error": "streamapp.errors.OrderInvalid",
        "fingerprint": "9c1f04be77a2",
        "attempts": 1,
        "replays": 0,
        "failures": 1,
        "status": "open",
        "first_failed_at": "2026-11-22T13:15:32.000Z",
        "failed_at": "2026-11-22T13:15:32.000Z",
        "age": 68_670.0,
        "deleted_in": 2_523_330.0,
        "key": "cust-0193",
        "value_size": 32,
    }


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--fingerprint", "51d0a7e2c3f8"], [AGAIN]),
        (["--status", "open", "--status", "reopened"], [OPEN, AGAIN]),
        (["--sort", "offset"], [OPEN, AGAIN]),
        (["--key", "cust-0007"], [AGAIN]),
        (["--since", "2026-11-23T00:00:00Z"], [AGAIN]),
        (["--error", "OrderInvalid", "--stage", "validate", "--partition", "3"], [OPEN]),
    ],
)
def test_the_filters_are_options(terminal: Terminal, options: list[str], ids: list[str]) -> None:
    assert [row["id"] for row in terminal.documents("list", *options) if row["kind"] == "letter"] == ids


def test_what_was_left_out_is_said_beside_the_list(terminal: Terminal) -> None:
    terminal.world.kafka.feed(DLQ, 2, b"hello")
    terminal.world.bury("orders/1/1@a", failed=NOW, app="billing")
    done = terminal.run("list")
    assert "1 record in there that no worker of ours wrote" in done.stderr
    assert "1 dead letter of the app billing" in done.stderr


def test_two_agents_that_failed_on_one_record_are_told_apart(terminal: Terminal) -> None:
    terminal.world.bury("orders/5/901@audit", failed=ago(minutes=1))
    assert {line.split("\t")[0] for line in terminal.run("list").stdout.splitlines()} == {
        "orders/3/1842",
        AGAIN,
        "orders/5/901@audit",
    }


def test_a_key_that_a_terminal_would_obey_is_shown_escaped(terminal: Terminal) -> None:
    terminal.world.bury("orders/1/2@order_processor", failed=ago(minutes=1), key=b"\x1b[2Jann\n\xff")
    (row,) = [line for line in terminal.run("list").stdout.splitlines() if line.startswith("orders/1/2")]
    assert row.endswith("\t\\x1b[2Jann\\n\\xff")


def test_blocked_keys_are_listed_with_what_waits_behind_them(terminal: Terminal) -> None:
    changelog = f"{APP}-order_processor-dlq-held-changelog"
    terminal.world.kafka.create_topic(changelog, 8, {})
    feed = terminal.world.kafka.feed
    row = {"head": AGAIN, "since": int(ago(hours=2).timestamp() * 1000), "offsets": [902, 905], "size_bytes": 300}
    feed(changelog, 5, msgspec.msgpack.encode(row), key=b'["orders","Y3VzdC0wMDA3"]')
    feed(changelog, 5, msgspec.msgpack.encode({"key": b"cust-0007"}), key=b'["orders",902]')
    feed(changelog, 4, msgspec.msgpack.encode(row), key=b'["orders","YW5u"]')
    feed(changelog, 4, None, key=b'["orders","YW5u"]')
    assert terminal.screen("list", "--blocked").splitlines() == [
        "KEY        HELD  AGE  HEAD                          AGENT            SOURCE",
        "cust-0007  2     2h   orders/5/901@order_processor  order_processor  orders/5",
    ]
    assert terminal.documents("list", "--blocked")[0]["age"] == 7200.0


# --- show


def test_a_letter_is_shown_as_operations_shows_it(terminal: Terminal) -> None:
    assert terminal.screen("show", "orders/5/901").splitlines() == [
        "id        orders/5/901@order_processor   reopened, replayed 1 time   fingerprint 51d0a7e2c3f8",
        "where     orders-dlq/5/13   read at orders/5/2210   group order-processor   worker w-2   version 1.4.0",
        "when      record 2026-11-23T06:01:09.114Z   first failed 06:01:11.402Z   last failed 08:13:40.020Z",
        "what      handler, retries-exhausted, 4 attempts, order skipped",
        "error     TimeoutError: price service did not answer in 2.0 s   cause ConnectionRefusedError: [Errno 111]",
        "stack     agents/order_processor.py:41 price  <  agents/order_processor.py:27 order_processor   (--stack: all 14 frames)",
        "key       cust-0007",
        f"value     {VALUE.decode()}   JSON, 93 bytes",
        "replays   1: 08:13:31Z job 7f3a by ops, failed again after 9s",
        "next      streamapp dlq replay orders/5/901 --execute",
    ]


def test_the_whole_stack_is_shown_when_asked_for(terminal: Terminal) -> None:
    shown = terminal.screen("show", "orders/5/901", "--stack")
    assert [line.strip() for line in shown.splitlines() if "engine.py:" in line] == [
        f"engine.py:{each} step" for each in range(10)
    ]


def test_a_value_that_the_model_refuses_is_shown_with_the_reason(terminal: Terminal) -> None:
    terminal.world.bury("orders/1/3@order_processor", failed=ago(minutes=1), value=b'{"order_id":"A-1"}')
    lines = terminal.screen("show", "orders/1/3").splitlines()
    assert 'value     {"order_id":"A-1"}   JSON, 18 bytes; Order.quantity is missing' in lines


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b"\xff\x00", "ff00   hex, 2 bytes; the value is not JSON: invalid UTF-8 at byte 0"),
        (b"nonsense", f"{b'nonsense'.hex()}   hex, 8 bytes; the value is not JSON: byte 4"),
        (None, "-   null"),
    ],
)
def test_a_value_that_is_no_json_is_shown_as_hex_with_the_reason(terminal: Terminal, value: bytes | None, line: str) -> None:
    terminal.world.bury("orders/1/3@order_processor", failed=ago(minutes=1), value=value)
    assert f"value     {line}" in terminal.screen("show", "orders/1/3").splitlines()


def test_without_the_app_the_value_is_shown_and_why_no_model_saw_it(terminal: Terminal) -> None:
    terminal.subject = subject_with(agents={}, unloaded="agents.orders: No module named 'tables'")
    (line,) = [line for line in terminal.screen("show", AGAIN).splitlines() if line.startswith("value")]
    assert line.endswith("JSON, 93 bytes; the app's models are not loaded: agents.orders: No module named 'tables'")


def test_a_cut_value_is_said_to_be_cut(terminal: Terminal) -> None:
    terminal.world.bury("orders/1/3@order_processor", failed=NOW, value=None, truncated="stack,value", value_size="2000000")
    shown = terminal.screen("show", "orders/1/3")
    assert "value     -   cut when it was dead-lettered, 2000000 bytes stand at orders/1/3" in shown
    assert "cut       stack,value" in shown.replace(", ", ",")


def test_a_parked_one_needs_force_and_a_settled_one_says_by_whom(terminal: Terminal) -> None:
    terminal.world.resolve(OPEN, Status.PARKED, replays=3)
    assert terminal.screen("show", OPEN).splitlines()[-1] == f"next      streamapp dlq replay {OPEN} --force --execute"
    terminal.world.resolve(OPEN, Status.DISCARDED, reason="test data")
    assert "settled   discarded 2026-11-23T08:20:02Z by ops: test data" in terminal.screen("show", OPEN).splitlines()


def test_the_value_alone_is_written_decoded_or_as_it_is(terminal: Terminal) -> None:
    terminal.world.bury("orders/1/3@order_processor", failed=NOW, value=b"\xff\n")
    assert terminal.run("show", "orders/1/3", "--value-only").stdout == "ff0a\n"
    assert terminal.run("show", "orders/1/3", "--value-only", "--raw").stdout_bytes == b"\xff\n"


def test_binary_data_is_refused_to_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.world.bury("orders/1/3@order_processor", failed=NOW, value=b"\xff\x1b[2J")
    monkeypatch.setattr(dlq_command, "_is_terminal", lambda: True)
    done = terminal.run("show", "orders/1/3", "--value-only", "--raw")
    assert (done.exit_code, done.stdout) == (5, "")


def test_hidden_values_are_nowhere(terminal: Terminal) -> None:
    for command in (["list"], ["show", AGAIN], ["stats"], ["list", "--json"], ["show", AGAIN, "--json"], ["tail"]):
        done = terminal.run(*command, "--no-values")
        assert done.exit_code == 0, done.output
        assert not [word for word in ("cust-0007", "A-77120", "price service", "Errno") if word in done.output], command


# --- stats, tail, export, jobs, check


def test_stats_counts_each_kind(terminal: Terminal) -> None:
    assert terminal.screen("stats").splitlines() == [
        "orders-dlq: 14 dead letters, 2 unresolved, oldest 19h04m; retention deletes it in 29d4h",
        "FINGERPRINT   COUNT  UNRESOLVED  FIRST       LAST        PER HOUR  DELETED IN  ERROR                  LATEST",
        "51d0a7e2c3f8  13     1           1d16h ago   6m21s ago   0.3       29d23h      TimeoutError           orders/5/901",
        "9c1f04be77a2  1      1           19h04m ago  19h04m ago  -         29d4h       OrderInvalid quantity  orders/3/1842",
    ]


def test_stats_counts_by_what_is_asked_for(terminal: Terminal) -> None:
    rows = terminal.documents("stats", "--by", "error,agent,hour", "--status", "open", "--status", "reopened")
    assert [(row["error"], row["agent"], row["hour"], row["count"]) for row in rows] == [
        ("OrderInvalid", "order_processor", "2026-11-22T13Z", 1),
        ("TimeoutError", "order_processor", "2026-11-23T08Z", 1),
    ]
    whole = terminal.documents("stats")
    assert [(row["fingerprint"], row["unresolved"], row["per_hour"]) for row in whole] == [
        ("51d0a7e2c3f8", 1, round(12 / (40 - 382 / 3600 + 0.02 / 3600), 3)),
        ("9c1f04be77a2", 1, None),
    ]


def test_tail_shows_the_last_ten(terminal: Terminal) -> None:
    for number in range(12):
        terminal.world.bury(f"orders/0/{number}@order_processor", failed=ago(seconds=60 - number))
    assert [row["source"] for row in terminal.documents("tail")] == [f"orders/0/{number}" for number in range(2, 12)]


def test_tail_goes_on_with_what_comes(terminal: Terminal) -> None:
    scope = Scope(click.Context(main), None, 1.0, as_json=False, hidden=False)
    arrivals = iter((["orders/1/1@order_processor"], [], [AGAIN, "orders/2/1@audit"]))

    def arrive(seconds: float) -> None:
        for each in next(arrivals):
            terminal.world.bury(each, failed=NOW)

    with dlq_command.desk(scope) as at:
        coming = dlq_command.follow_letters(at, Filters(agents=frozenset({"order_processor"})), wait=arrive)
        assert [letter.id for letter in next(coming)] == ["orders/1/1@order_processor"]
        assert [letter.id for letter in next(coming)] == [AGAIN]


def test_an_export_holds_every_byte(terminal: Terminal) -> None:
    user = [("trace", b"\xfe"), ("trace", None), ("lang", b"de")]
    terminal.world.bury("orders/1/3@order_processor", failed=ago(minutes=1), key=b"\xff", value=b"\x00", headers=user)
    first, _, last = [json.loads(line) for line in terminal.run("export").stdout.splitlines()]
    assert (first["id"], first["key_text"], first["value_text"]) == (OPEN, "cust-0193", '{"order_id":"A-1","quantity":-1}')
    assert (b64decode(last["key"]), b64decode(last["value"])) == (b"\xff", b"\x00")
    assert [(name, None if value is None else b64decode(value)) for name, value in last["headers"]] == user
    assert (last["key_text"], last["value_text"]) == (None, None)


def test_jobs_are_listed_with_how_far_they_came(terminal: Terminal) -> None:
    assert terminal.screen("jobs").splitlines() == [
        "JOB   STARTED  DLQ         STATE    OPERATOR  TARGET  MATCHED  SENT  RESOLVED  REOPENED  SCOPE         REASON",
        "7f3a  7m ago   orders-dlq  stopped  ops       source  1        1     0         1         orders/5/901  1 reopened",
    ]
    (job,) = terminal.documents("jobs")
    assert (job["job"], job["state"], job["reopened"], job["started"]) == ("7f3a", "stopped", 1, "2026-11-23T08:13:02.000Z")


# --- exit codes


@pytest.mark.parametrize(
    "command",
    [
        ["list", "--agent", "nobody"],
        ["list", "--blocked"],
        ["tail", "--agent", "nobody"],
        ["stats", "--agent", "nobody"],
        ["export", "--agent", "nobody"],
        ["show", "orders/9/9"],
    ],
)
def test_nothing_matched_is_exit_code_4(terminal: Terminal, command: list[str]) -> None:
    done = terminal.run(*command)
    assert (done.exit_code, done.stdout) == (4, ""), done.output
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["list", "--since", "yesterday"], "--since yesterday: must be"),
        (["list", "--status", "lost"], "'lost' is not one of"),
        (["list", "--dlq", "order-dlq"], "--dlq order-dlq: there is no such topic; the app's are: orders-dlq"),
        (["stats", "--by", "colour"], "--by colour: must be fingerprint, error, agent"),
        (["show", "orders"], "orders: no dead letter's id"),
        (["show", OPEN, "--value-only", "--no-values"], "do not go together"),
        (["export", "--no-values"], "leaves nothing to import"),
    ],
)
def test_what_cannot_be_is_exit_code_2_in_one_line(terminal: Terminal, command: list[str], told: str) -> None:
    done = terminal.run(*command)
    assert (done.exit_code, told in done.stderr) == (2, True), done.output
    assert "Traceback" not in done.output


def test_an_id_without_agent_of_a_record_that_failed_two_is_exit_code_2(terminal: Terminal) -> None:
    terminal.world.bury("orders/5/901@audit", failed=NOW)
    done = terminal.run("show", "orders/5/901")
    assert (done.exit_code, "several agents failed on this record" in done.stderr) == (2, True)


def test_letters_that_retention_took_during_an_export_are_exit_code_1(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = terminal.world.reader.read

    def retention_comes(ranges: Any) -> Any:
        yield from read(ranges)
        if Partition(DLQ, 3) in ranges:
            terminal.world.kafka.delete_records(DLQ, 3, 1)

    monkeypatch.setattr(terminal.world.reader, "read", retention_comes)
    done = terminal.run("export")
    assert (done.exit_code, [json.loads(line)["id"] for line in done.stdout.splitlines()]) == (1, [AGAIN])
