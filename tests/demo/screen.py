"""What the demo shows: a live display on a terminal, plain lines elsewhere, tables at the end. 100 columns."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from tests.demo.scenario import Facts
from tests.support.verdict import Kind, Verdict

WIDTH: Final = 100
POINTS: Final[tuple[tuple[str, frozenset[Kind]], ...]] = (
    (
        "1  every order priced once, dead-lettered once, or dropped as a repeat",
        frozenset(
            {
                Kind.LOST,
                Kind.DOUBLED,
                Kind.INVENTED,
                Kind.UNPROCESSED,
                Kind.WRONGLY_DEAD_LETTERED,
                Kind.DEAD_LETTER_CHANGED,
                Kind.DEAD_LETTER_HEADERS,
            }
        ),
    ),
    ("2  one demand and one total for each priced order", frozenset({Kind.TORN})),
    ("3  running counts and sums are right, record by record", frozenset({Kind.MISSUMMED})),
    ("4  each customer's orders kept their order", frozenset({Kind.MISORDERED})),
    ("5  nothing seen of aborted transactions, none left open", frozenset({Kind.OPEN_TRANSACTION, Kind.NOT_A_PREFIX})),
    ("6  tables rebuilt from their changelogs equal the outputs", frozenset({Kind.CHANGELOG_MISMATCH})),
    (
        "   fields, keys, partitions, timestamps and headers as agreed",
        frozenset(
            {
                Kind.WRONG_CONTENT,
                Kind.WRONG_FIELDS,
                Kind.WRONG_KEY,
                Kind.WRONG_PARTITION,
                Kind.WRONG_TIMESTAMP,
                Kind.HEADERS_CHANGED,
            }
        ),
    ),
)


class Rate(ProgressColumn):
    """Records a second over the last seconds, and the time left at that rate; unknown until it can be said."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("   unknown/s, unknown left")
        left = (task.total or 0) - task.completed
        return Text(f"{speed:>8,.0f}/s, {left / speed:,.0f} s left")


class Screen:
    """Prints. On a terminal, `watch` draws bars; elsewhere it prints a line every two seconds."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(width=WIDTH, highlight=False)
        self._steps = 0

    def step(self, text: str) -> None:
        self._steps += 1
        self.console.print(f"[bold cyan]{self._steps}[/] {text}")

    def fact(self, text: str) -> None:
        self.console.print(f"  {text}", soft_wrap=True)

    def typed(self, command: str, lines: Sequence[str], *, left_out: int) -> None:
        """Show a command and what it said."""
        self.console.print(Text(f"  $ {command}", style="bold"), soft_wrap=True)
        for line in lines:
            self.console.print(Text(f"    {line}"), soft_wrap=True)
        if left_out:
            self.fact(f"  … {left_out} lines more")

    @contextmanager
    def watch(self, total: int) -> Iterator[Bars]:
        if not self.console.is_terminal:
            yield Lines(self, total)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description:<10}"), BarColumn(36), MofNCompleteColumn(), Rate())
        with Progress(*columns, console=self.console, transient=False) as progress:
            yield Bars(progress, total)

    def verdict(self, verdict: Verdict) -> None:
        table = Table(
            width=WIDTH, title="The contract, checked by a program that shares no code with the engine", title_justify="left"
        )
        table.add_column("what must hold", ratio=1)
        table.add_column("", width=18)
        found = verdict.by_kind()
        for text, kinds in POINTS:
            wrong = sum(found[kind] for kind in kinds)
            table.add_row(text, f"[red]✗ {wrong} violations[/]" if wrong else "[green]✓ holds[/]")
        self.console.print(table)
        if not verdict.ok:
            self.console.print(Panel(Text(verdict.report()), title="violations", border_style="red", width=WIDTH))

    def summary(self, facts: Facts) -> None:
        verdict = facts.verdict
        assert verdict is not None
        counts = verdict.counts
        table = Table(width=WIDTH, title="What happened", title_justify="left", show_header=False)
        table.add_column(width=30)
        table.add_column(ratio=1)
        speed = (
            f"{facts.orders / facts.seconds:,.0f} a second, feeding, kill and restart included" if facts.seconds else "unknown"
        )
        table.add_row("orders in", f"{counts.orders:,}  ({speed})")
        table.add_row("priced", f"{counts.priced:,}")
        table.add_row("duplicates dropped", f"{counts.duplicates:,}")
        table.add_row("dead letters", f"{counts.dead_letters:,}")
        moved = verdict.by_kind()[Kind.NOT_A_PREFIX]
        table.add_row(
            "seen live, read_committed", f"{facts.seen_live:,} records, {moved or 'none'} of them gone or changed since"
        )
        if facts.kill is not None:
            table.add_row("killed at", f"{facts.kill.order_id}, {facts.kill.place}")
            recovery = facts.kill.recovery
            table.add_row(
                "time to recover", f"{recovery:.1f} s from restart to next commit" if recovery is not None else "unknown"
            )
        codes = ", ".join(f"{name} {code}" for name, code in facts.exit_codes.items())
        table.add_row("exit codes at SIGTERM", codes or "still running")
        self.console.print(table)
        self._tops(verdict)

    def _tops(self, verdict: Verdict) -> None:
        counts = verdict.counts
        errors = Table(width=WIDTH, title="Dead letters by error", title_justify="left")
        errors.add_column("exception", ratio=1)
        errors.add_column("stage", width=12)
        errors.add_column("letters", justify="right", width=10)
        for (name, stage), number in counts.dead_letters_by_error.most_common():
            errors.add_row(Text(name), Text(stage), f"{number:,}")
        self.console.print(errors)
        grid = Table.grid(padding=(0, 2))
        customers = Table(width=55, title="Top customers", title_justify="left")
        for name, width in (("customer", 18), ("orders", 10), ("sum", 20)):
            customers.add_column(name, width=width - 3, justify="left" if name == "customer" else "right")
        for customer, orders, cents in counts.top_customers[:6]:
            customers.add_row(Text(customer), f"{orders:,}", f"{cents / 100:,.2f}")
        skus = Table(width=43, title="Top skus", title_justify="left")
        skus.add_column("sku", ratio=1)
        skus.add_column("quantity", justify="right", width=14)
        for sku, quantity in counts.top_skus[:6]:
            skus.add_row(Text(sku), f"{quantity:,}")
        grid.add_row(customers, skus)
        self.console.print(grid)


class Bars:
    """Two bars: fed and done."""

    done = 0

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._fed, self._done = (progress.add_task(name, total=total) for name in ("fed", "processed"))

    def show(self, fed: int, done: int) -> None:
        self.done = done
        self._progress.update(self._fed, completed=fed)
        self._progress.update(self._done, completed=done)


class Lines(Bars):
    """The same as lines, for logs and pipes."""

    def __init__(self, screen: Screen, total: int) -> None:
        self._screen, self._total, self._next = screen, total, 0.0
        self._seen: deque[tuple[float, int]] = deque(maxlen=5)

    def show(self, fed: int, done: int) -> None:
        self.done = done
        now = time.monotonic()
        if now < self._next and done < self._total:
            return
        self._next = now + 2
        self._seen.append((now, done))
        (then, before), left = self._seen[0], self._total - done
        rate = (done - before) / (now - then) if now > then else 0.0
        eta = f"{rate:,.0f}/s, {left / rate:,.0f} s left" if rate > 0 else "rate unknown, time left unknown"
        self._screen.fact(f"fed {fed:,} processed {done:,} of {self._total:,}, {eta}")
