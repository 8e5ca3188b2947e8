"""`streamapp top`: the workers of an app in the terminal, live."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.live import Live

from streamapp.cli.verify import ends_with_one_line, find_app, quiet_client

if TYPE_CHECKING:
    from streamapp.application import StreamApp
    from streamapp.monitor.top import Heard

UNREACHABLE = 3
"""Exit code where no worker answers."""


@click.command("top")
@click.option(
    "-A", "--app", "app_name", default=None, help="The app, as `faust -A` takes it.  [default: streamapp, the project here]"
)
@click.option(
    "--from",
    "urls",
    metavar="URL",
    multiple=True,
    help="Web port of a worker. Repeatable.  [default: this machine's, and STREAMAPP_WEB_PEERS]",
)
@click.option(
    "--every", type=click.FloatRange(0.5, 3600), default=2.0, show_default=True, help="Seconds between two looks; Ctrl-C ends it."
)
@click.option("--once", is_flag=True, help="Look once, and print it.  [default where the output is no terminal]")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 60), default=2.0, show_default=True, help="Seconds without an answer of a worker."
)
@click.pass_context
@ends_with_one_line
def top(context: click.Context, app_name: str | None, urls: tuple[str, ...], every: float, once: bool, timeout: float) -> None:
    """Show an app's workers live: verdict, partitions, agents, transactions, tables, dead letters.

    Asks the workers only, no broker. With --once it exits 0 when a worker answered, 3 when none did.
    """
    quiet_client()
    look = looks(find_app(context, app_name), urls, timeout)
    console = Console(highlight=False)
    if once or not console.is_terminal:
        heard = look()
        if all(each.document is None for each in heard):
            silent = ", ".join(f"{each.url} ({each.trouble})" for each in heard)
            click.echo(f"streamapp: no worker answers: {silent}; --from URL names another", err=True)
            sys.exit(UNREACHABLE)
        # What is printed scrolls: only the width bounds it.
        console.print(_frame(console, heard, sys.maxsize))
        return
    watch(console, look, every)


def looks(app: StreamApp, urls: tuple[str, ...], timeout: float) -> Callable[[], Sequence[Heard]]:
    """Return what asks all workers at once. Raises UsageError: there is none to ask."""
    # By name, and here: `streamapp broker` must not load what they need.
    workers = importlib.import_module("streamapp.monitor.top_workers")
    web = app.settings.web
    here = importlib.import_module("streamapp.assembly").web_address(app)
    asked = workers.addresses(urls or (*([here] if here else ()), *web.web_peers))
    if not asked:
        raise click.UsageError("STREAMAPP_WEB_PORT is 0 and STREAMAPP_WEB_PEERS is empty: name a worker with --from URL")

    async def all_of_them() -> list[Heard]:
        return list(await asyncio.gather(*(asyncio.to_thread(workers.ask, url, web.web_token, timeout) for url in asked)))

    return lambda: asyncio.run(all_of_them())


def watch(console: Console, look: Callable[[], Sequence[Heard]], every: float) -> None:
    """Show what `look` sees, on a screen of its own, until Ctrl-C. Workers that do not answer are named, and asked again."""
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_frame(console, look(), console.height), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        return


def _frame(console: Console, heard: Sequence[Heard], height: int) -> Group:
    screen = importlib.import_module("streamapp.monitor.top").screen
    return Group(*screen(heard, width=console.width, height=height, now=time.time()))


__all__ = ["looks", "top", "watch"]
