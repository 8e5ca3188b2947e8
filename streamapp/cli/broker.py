"""`streamapp broker`: a real Kafka on this machine, for development. Needs no project and no app."""

from __future__ import annotations

import functools
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import ParamSpec

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamapp.broker import Broker, BrokerConfig, BrokerError, Listener, Profile, default_data_dir
from streamapp.broker.errors import BrokerDown
from streamapp.broker.logs import follow, last_lines
from streamapp.broker.ports import HOST
from streamapp.broker.state import RunningState

P = ParamSpec("P")

DEFAULT_PORT = 9092

SHOWN_STEPS = 10
"""Lines that a download prints where there is no terminal."""


def ends_with_one_line(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a BrokerError into its one line on stderr and its exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BrokerError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(130)

    return wrapper


class ListenerType(click.ParamType):
    name = "NAME[:PORT]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Listener, int]:
        name, _, port = str(value).partition(":")
        if name not in list(Listener) or not (port or "0").isdigit():
            self.fail(
                f"{value!r}: must be {', '.join(Listener)}, with a port if it is not to be a free one, like tls:9094", param, ctx
            )
        return Listener(name), int(port or 0)


class UserType(click.ParamType):
    name = "NAME:PASSWORD"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, colon, password = str(value).partition(":")
        if not (name and colon and password):
            self.fail("must be NAME:PASSWORD", param, ctx)
        return name, password


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the broker's data is. [default: .streamapp/broker beside the nearest pyproject.toml upward, else here]",
)


def start_options(command: Callable[P, None]) -> Callable[P, None]:
    for option in reversed(
        [
            click.option("--port", type=click.IntRange(0, 65535), show_default="9092", help="0 takes a free one."),
            data_dir_option,
            click.option(
                "--profile",
                type=click.Choice([profile.value for profile in Profile]),
                default=Profile.DEV.value,
                show_default=True,
                help="test: few internal partitions, no delays; bench: 1 GB of memory and G1.",
            ),
            click.option(
                "--listener",
                "listeners",
                type=ListenerType(),
                multiple=True,
                help="Also listen with SASL/SCRAM (scram), TLS (tls) or both (scram-tls). Repeatable.",
            ),
            click.option(
                "--user", "users", type=UserType(), multiple=True, help="A user for SCRAM; created with the data. Repeatable."
            ),
        ]
    ):
        command = option(command)
    return command


def _config(
    port: int | None,
    data_dir: Path | None,
    profile: str,
    listeners: tuple[tuple[Listener, int], ...],
    users: tuple[tuple[str, str], ...],
) -> BrokerConfig:
    directory = _directory(data_dir)
    if port is None:  # a broker that runs already is welcome on any port
        running = Broker(BrokerConfig(data_dir=directory)).state
        port = running.port if running else DEFAULT_PORT
    return BrokerConfig(data_dir=directory, port=port, profile=Profile(profile), listeners=dict(listeners), users=dict(users))


def _directory(data_dir: Path | None) -> Path:
    return data_dir or default_data_dir(Path.cwd())


def _existing(data_dir: Path | None) -> Broker:
    return Broker(BrokerConfig(data_dir=_directory(data_dir)))


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show progress on stderr: a bar on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _say_progress
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield show


def _say_progress(what: str, done: int, total: int) -> None:
    if not total:
        click.echo(f"{what} ...", err=True)
    elif done in (0, total) or done % max(total // SHOWN_STEPS, 1) == 0:
        click.echo(f"{what}: {done} of {total} files", err=True)


def _announce(broker: Broker, state: RunningState) -> None:
    click.echo(f"Kafka {state.version} listens on {broker.address} (pid {state.process.pid}, data in {broker.data_dir})")
    for listener, port in state.extra.items():
        trust = f", ssl.ca.location={broker.ca_file}" if listener.has_certificate else ""
        click.echo(f"{listener} listens on {HOST}:{port}: security.protocol={listener.protocol}{trust}")
    if broker.warning:
        click.echo(f"Warning: {broker.warning}", err=True)


def _started(broker: Broker) -> RunningState:
    broker.start()
    if (state := broker.state) is None:
        raise BrokerDown(f"the broker ended right after its start; see {broker.log_file}")
    return state


@click.group("broker")
def broker_group() -> None:
    """A real single-node Kafka for development, on 127.0.0.1 only; needs no Docker and no Java."""


@broker_group.command("start")
@start_options
@ends_with_one_line
def start(
    port: int | None,
    data_dir: Path | None,
    profile: str,
    listeners: tuple[tuple[Listener, int], ...],
    users: tuple[tuple[str, str], ...],
) -> None:
    """Start the broker in the background; return when it answers.

    The first start downloads Kafka (46 files, 43 MB) to the user's cache directory; later ones need no network.
    """
    with _progress() as progress:
        broker = Broker(_config(port, data_dir, profile, listeners, users), progress=progress)
        was_running = broker.state is not None
        state = _started(broker)
        broker.detach()
    if was_running:
        click.echo("A broker runs already.", err=True)
    _announce(broker, state)


@broker_group.command("run")
@start_options
@ends_with_one_line
def run(
    port: int | None,
    data_dir: Path | None,
    profile: str,
    listeners: tuple[tuple[Listener, int], ...],
    users: tuple[tuple[str, str], ...],
) -> None:
    """Run the broker in the foreground and show its log; Ctrl-C stops it cleanly."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    with _progress() as progress:
        broker = Broker(_config(port, data_dir, profile, listeners, users), die_with_parent=True, progress=progress)
        if (other := broker.state) is not None:
            raise click.UsageError(f"a broker runs already, on {other.address}; `streamapp broker stop` first")
        state = _started(broker)
    try:
        # From here on both signals end the log, so that the stop below happens once and whole.
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        _announce(broker, state)
        for line in follow(broker.log_file, until=lambda: stopping.is_set() or not state.process.is_alive()):
            click.echo(line)
        if not stopping.is_set():
            raise BrokerDown(f"the broker ended by itself; see {broker.log_file}")
    finally:
        click.echo("Stopping ...", err=True)
        broker.stop()


@broker_group.command("stop")
@data_dir_option
@ends_with_one_line
def stop(data_dir: Path | None) -> None:
    """Stop the broker cleanly, after 30 s by force; its data stays."""
    broker = _existing(data_dir)
    click.echo("Stopped." if broker.stop() else f"No broker runs in {broker.data_dir}.")


@broker_group.command("status")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="One object on one line.")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 60), default=10.0, show_default=True, help="Seconds to wait for the answer."
)
@ends_with_one_line
def status(data_dir: Path | None, as_json: bool, timeout: float) -> None:
    """Show where the broker listens and its topics; exit 3 if none answers."""
    broker = _existing(data_dir)
    state = broker.state
    try:
        topics = broker.topics(timeout=timeout)
    except BrokerDown as down:
        if as_json:
            click.echo(json.dumps(_document(broker, state, None, str(down))))
        raise
    assert state is not None
    if as_json:
        click.echo(json.dumps(_document(broker, state, topics, None)))
    else:
        _show(broker, state, topics)


def _document(
    broker: Broker, state: RunningState | None, topics: dict[str, int] | None, problem: str | None
) -> dict[str, object]:
    return {
        "answers": topics is not None,
        "address": state and state.address,
        "version": state and state.version,
        "pid": state and state.process.pid,
        "profile": state and state.profile,
        "data_dir": str(broker.data_dir),
        "listeners": {listener: f"{HOST}:{port}" for listener, port in state.extra.items()} if state else {},
        "topics": None if topics is None else [{"name": name, "partitions": count} for name, count in sorted(topics.items())],
        "problem": problem,
    }


def _show(broker: Broker, state: RunningState, topics: dict[str, int]) -> None:
    rows = {
        "address": state.address,
        **{str(listener): f"{HOST}:{port}" for listener, port in state.extra.items()},
        "version": state.version,
        "pid": str(state.process.pid),
        "profile": state.profile,
        "data": str(broker.data_dir),
    }
    console = Console()
    if not console.is_terminal:
        for row in (*rows.items(), *(("topic", f"{name}\t{count}") for name, count in sorted(topics.items()))):
            click.echo("\t".join(row))
        return
    facts = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        facts.add_row(name, value)
    console.print(facts)
    listing = Table("topic", "partitions")
    for name, count in sorted(topics.items()):
        listing.add_row(name, str(count))
    console.print(listing if topics else "no topics yet")


@broker_group.command("reset")
@data_dir_option
@click.option("--execute", is_flag=True, help="Do it; without this, only say what would be deleted.")
@ends_with_one_line
def reset(data_dir: Path | None, execute: bool) -> None:
    """Stop the broker and delete all its topics, offsets and logs. A preview without --execute."""
    broker = _existing(data_dir)
    size, stops = broker.size_bytes(), broker.state is not None
    if not size:
        click.echo(f"Nothing to delete in {broker.data_dir}.")
        return
    what = f"{broker.data_dir}, {size / 1e6:.1f} MB"
    if not execute:
        click.echo(f"Would {'stop the broker and ' if stops else ''}delete {what}. Repeat with --execute to do it.")
        return
    broker.reset()
    click.echo(f"{'Stopped the broker and deleted' if stops else 'Deleted'} {what}.")


@broker_group.command("logs")
@data_dir_option
@click.option("-n", "--lines", type=click.IntRange(0, 100_000), default=40, show_default=True, help="How many of the last lines.")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on with new lines while the broker runs.")
@ends_with_one_line
def logs(data_dir: Path | None, lines: int, following: bool) -> None:
    """Show the broker's log, which is kept to 30 MB."""
    broker = _existing(data_dir)
    if not broker.log_file.exists():
        raise BrokerDown(f"{broker.log_file}: no log there; `streamapp broker start` starts a broker")
    for line in last_lines(broker.log_file, lines):
        click.echo(line)
    if following:
        for line in follow(broker.log_file, until=lambda: broker.state is None):
            click.echo(line)
