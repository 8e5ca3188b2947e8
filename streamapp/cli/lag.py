"""`streamapp lag`: how far behind the app is, whether it grows, when it is drained, when unread records are deleted. Reads only."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import click

from streamapp.cli.verify import ends_with_one_line, find_app, quiet_client
from streamapp.errors import BrokerUnreachable
from streamapp.figures import duration

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.kafka.inspector import Inspector
    from streamapp.monitor.lag.inputs import Config
    from streamapp.monitor.status import StatusDocument
    from streamapp.settings import Settings
    from streamapp.verify.group_lag import Group
    from streamapp.verify.lag_watch import Board, LagWatch

SORTS: Final = ("loss", "lag", "age")
EVERY: Final = 2.0
"""Seconds between two looks of `--wait` that no `--watch` sets."""
ANSWER: Final = 2.0
"""Seconds that a worker on this machine, or a peer, may take to tell its history: without it there is a screen all the same."""
NOTHING: Final = 4
"""Exit code where nothing matched."""

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Span(click.ParamType):
    """Seconds, or 90s, 10m, 1h30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
        if not parts or "".join(number + unit for number, unit in parts) != text or not 0.1 <= self._sum(parts) <= 30 * 86_400:
            self.fail(f"{text}: must be 0.1 s to 30 d, as in 90, 90s, 10m or 1h30m", param, context)
        return self._sum(parts)

    @staticmethod
    def _sum(parts: Sequence[tuple[str, str]]) -> float:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)


@click.command("lag")
@click.option(
    "-A", "--app", "app_name", default=None, help="The app, as `faust -A` takes it.  [default: streamapp, the project here]"
)
@click.option(
    "--watch", type=Span(), is_flag=False, flag_value=10.0, metavar="[DURATION]", help="Look again, every 10 s or so often."
)
@click.option("--sort", "by", type=click.Choice(SORTS), help="What comes first.  [default: the worst status]")
@click.option("--partition", "number", type=click.IntRange(0), help="Only this partition, of each topic.")
@click.option("--only-lag", is_flag=True, help="Only partitions with something unread, or where that is not known.")
@click.option("--wide", is_flag=True, help="Kafka's CONSUMER-ID, HOST and CLIENT-ID, too.")
@click.option("--json", "as_json", is_flag=True, help="One object per line.")
@click.option("--exit-code", "by_status", is_flag=True, help="Exit with 1 unless all is OK or catching up.")
@click.option(
    "--wait",
    type=Span(),
    metavar="DURATION",
    help="Look until nothing is unread, or with --exit-code all is well, at most so long.",
)
@click.option("--from", "url", metavar="URL", help="Web port of the worker that tells the history.  [default: this machine's]")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    help="Seconds without an answer of the broker or the worker.",
)
@click.pass_context
@ends_with_one_line
def lag(
    context: click.Context,
    app_name: str | None,
    watch: float | None,
    by: str | None,
    number: int | None,
    only_lag: bool,
    wide: bool,
    as_json: bool,
    by_status: bool,
    wait: float | None,
    url: str | None,
    timeout: float,
) -> None:
    """Show how far behind the app is: trend, time to drain, time to loss, and why.

    Exits 0, or 1 where --exit-code finds something or --wait is over; 3 when no broker answers, 4 when no partition matches.
    """
    quiet_client()
    app = find_app(context, app_name)
    app.load_modules()
    screen = importlib.import_module("streamapp.cli.lag_screen")
    as_json = as_json or bool(getattr(context.obj, "json", False))

    def show(board: Board) -> None:
        rows = screen.sorted_rows(board.of(number), by)
        if only_lag:
            rows = [row for row in rows if row.verdict.lag != 0]
        screen.show(board, rows, wide=wide, as_json=as_json)

    with _Desk(app, url, timeout) as desk:
        if wait is not None:
            board, code = _wait(desk, number, wait, watch or EVERY, by_status=by_status)
            show(board)
        else:
            board, code = desk.look(), 0
            show(board)
            while watch is not None:
                time.sleep(watch)
                board = desk.look_again(board)
                if sys.stdout.isatty() and not as_json:
                    click.clear()
                show(board)
    if not board.of(number):
        click.echo("no partition matches", err=True)
        sys.exit(NOTHING)
    sys.exit(code or (1 if by_status and not desk.is_well(board.of(number)) else 0))


def _wait(desk: _Desk, number: int | None, longest: float, every: float, *, by_status: bool) -> tuple[Board, int]:
    """Look until it is as wanted, at most so long; say on stderr how it goes."""
    began = time.monotonic()
    board = desk.look()
    while True:
        rows = board.of(number)
        if not rows or (desk.is_well(rows) if by_status else desk.unread(rows) == 0):
            return board, 0
        passed = time.monotonic() - began
        if passed >= longest:
            return board, 1
        left = desk.unread(rows)
        unread = "unknown" if left is None else f"{left:,} unread"
        click.echo(f"{board.group.status}: {unread}, {duration(passed)} of {duration(longest)}", err=True)
        time.sleep(min(every, longest - passed))
        board = desk.look_again(board)


class _Desk:
    """The clients of one run. A context manager."""

    def __init__(self, app: StreamApp, url: str | None, timeout: float) -> None:
        # By name, and here: `streamapp broker` needs neither an app nor the engine, and must not load them.
        self._reader = importlib.import_module("streamapp.verify.group_lag")
        self._told = importlib.import_module("streamapp.verify.told")
        self._watching = importlib.import_module("streamapp.verify.lag_watch")
        self._settings = app.settings
        self._group, config = asyncio.run(_group_of(app))
        self._url = url
        self._timeout = timeout
        self._watch: LagWatch = self._watching.LagWatch(config)
        self._inspector: Inspector | None = None

    def look(self) -> Board:
        """Return how it stands. Raises BrokerUnreachable; WorkerSilent: that of `--from`."""
        if self._inspector is None:
            client_config = importlib.import_module("streamapp.kafka.client_config")
            deadline = importlib.import_module("streamapp.clock").Deadline.after(self._timeout)
            await_broker = importlib.import_module("streamapp.kafka.versions").await_broker
            await_broker(client_config.admin(self._settings, "lag"), deadline, fencing=False)
            self._inspector = importlib.import_module("streamapp.kafka.inspector").Inspector(
                self._settings, self._timeout, name="lag"
            )
        documents = self._documents()
        reading = self._reader.read_group(self._inspector, self._group, time.time())
        board: Board = self._watch.look(reading, documents)
        return board

    def look_again(self, last: Board) -> Board:
        """Return how it stands, or as it stood last while nobody answers."""
        try:
            return self.look()
        except BrokerUnreachable as silent:
            click.echo(f"streamapp: {' '.join(str(silent).split())}", err=True)
            return last

    def is_well(self, rows: Sequence[Any]) -> bool:
        return bool(self._watching.is_well(rows))

    def unread(self, rows: Sequence[Any]) -> int | None:
        found: int | None = self._watching.unread(rows)
        return found

    def _documents(self) -> list[StatusDocument]:
        """Return what workers tell: the one that is named, which has to; else this machine's and the peers, where they do."""
        web = self._settings.web
        token = None if web.web_token is None else web.web_token.reveal()
        if self._url is not None:
            return [self._told.ask_one_of(self._settings.identity.app_id, self._url, self._timeout, token=token)]
        here = [f"http://127.0.0.1:{web.web_port}"] if web.web_port else []
        silent = importlib.import_module("streamapp.verify.workers").WorkerSilent
        found = []
        for each in dict.fromkeys((*here, *web.web_peers)):
            try:
                found.append(self._told.ask(each, min(ANSWER, self._timeout), token=token))
            except silent:
                continue
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._inspector is not None:
            self._inspector.close()


async def _group_of(app: StreamApp) -> tuple[Group, Config]:
    """Return what the app reads, and the settings that lag depends on."""
    topology = importlib.import_module("streamapp.worker.topology")
    spec = importlib.import_module("streamapp.pipeline.spec")
    declared = await topology.describe(app)
    settings: Settings = app.settings
    earliest = settings.topics.auto_offset_reset == "earliest"
    sets = spec.source_sets(declared.agents, declared.tables)
    group = importlib.import_module("streamapp.verify.group_lag").Group(
        app_id=settings.identity.app_id,
        topics=sorted({topic for names in sets for topic in names}),
        sets=["+".join(names) for names in sets],
        earliest=earliest,
    )
    config = importlib.import_module("streamapp.monitor.lag.inputs").Config(
        group=settings.identity.app_id,
        commit_interval=settings.transaction.commit_interval,
        earliest=earliest,
        reset_policy=settings.topics.auto_offset_reset,
        drain_target=settings.observe.lag_drain_target,
        sample_interval=settings.observe.lag_sample_interval,
        broker=settings.broker.broker,
    )
    return group, config


__all__ = ["lag"]
