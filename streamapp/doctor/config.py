"""C01 to C05: the app's own settings, its tables, and its data directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from streamapp.doctor.check import Check, error, unchecked, warning
from streamapp.doctor.facts import CouldNotCheck, Facts, retention_of, told
from streamapp.doctor.words import names
from streamapp.figures import duration, size
from streamapp.monitor.finding import Finding, Level
from streamapp.settings import OWNED_OPTIONS

LARGE: Final = 2**30
"""Bytes of tables from which on losing the disk is worth a word."""
HERE: Final = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


def c01_guarantee(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    broker = app.settings.broker
    for setting in ("broker_options", "consumer_options", "producer_options"):
        for option in getattr(broker, setting):
            if option in OWNED_OPTIONS:
                variable = f"STREAMAPP_{setting.upper()}"
                yield error(
                    "C01",
                    variable,
                    f"{variable} sets {option}",
                    f"it {OWNED_OPTIONS[option]}",
                    f"take {option} out of {variable}",
                )
    in_memory = sorted(table.name for table in app.tables if table.in_memory)
    if in_memory:
        took = _rebuild(facts, in_memory)
        yield warning(
            "C01", names(in_memory), f"in memory: {names(in_memory)}",
            "tables rebuild on each start" + (f": about {duration(took)}" if took is not None else ""),
            "set STREAMAPP_STORE=rocksdb://",
        )  # fmt: skip


def _rebuild(facts: Facts, tables: Sequence[str]) -> float | None:
    """Return the seconds that a restore of whole changelogs takes; None where their length or the rate is not told."""
    rate = _restore_rate(facts)
    if rate is None or not isinstance(facts.ends, Mapping):
        return None
    changelogs = {changelog for changelog, table in facts.app.changelogs.items() if table.name in tables}
    return sum(ends.high - ends.start for partition, ends in facts.ends.items() if partition.topic in changelogs) / rate


def _restore_rate(facts: Facts) -> float | None:
    """Return the changelog records per second that workers measured, the slowest."""
    if not isinstance(facts.workers, Sequence):
        return None
    measured = [each.document.doctor.restore_rate for each in facts.workers if each.document.doctor is not None]
    return min((rate for rate in measured if rate), default=None)


def c02_large_tables(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    on_disk = [table for table in app.tables if not table.in_memory]
    if not on_disk:
        return
    whole = _table_bytes(facts)
    if whole <= LARGE:
        return
    took = _rebuild(facts, [table.name for table in on_disk])
    yield warning(
        "C02", names(table.name for table in on_disk),
        f"{size(whole)} of tables, and no standby: "
        + (f"{duration(took)} without events after losing the disk" if took is not None else "how long a restore takes was not measured yet"),
        "a worker whose disk is lost restores them from their changelogs before it reads on",
        "keep STREAMAPP_DATA_DIR on a volume that outlives the worker; more partitions share the restore out",
    )  # fmt: skip


def _table_bytes(facts: Facts) -> int:
    """Return the bytes of all tables: what workers tell, else those of the directory here. Raises CouldNotCheck."""
    if isinstance(facts.workers, Sequence) and facts.workers:
        each = {(row.table, row.partition): row.bytes for heard in facts.workers for row in heard.document.tables if row.bytes}
        return sum(size for size in each.values() if size is not None)
    directory = told(facts.directory)
    if directory.table_bytes is None:
        raise CouldNotCheck(f"there are no tables in {directory.path}, and no worker tells how large they are")
    return directory.table_bytes


def c03_directory(facts: Facts) -> Iterator[Finding]:
    """Whose the directory is. That a live worker holds it is as it should be, except to one that starts, which `DataDir` refuses."""
    directory, app_id = told(facts.directory), facts.app.app_id
    if directory.app_id is not None and directory.app_id != app_id:
        holder = "" if directory.locked_by is None else f", whose process {directory.locked_by} runs"
        yield error(
            "C03", str(directory.path), f"{directory.path} belongs to app {directory.app_id!r}{holder}; this is {app_id!r}",
            "its tables are another app's", "set STREAMAPP_DATA_DIR to a directory of its own",
        )  # fmt: skip
    elif directory.locked_by is not None and facts.at_start:
        yield error(
            "C03", str(directory.path), f"{directory.path} is held by the live worker with process id {directory.locked_by}",
            "two workers would write the same tables", "set STREAMAPP_WORKER_ID or STREAMAPP_DATA_DIR for each worker",
        )  # fmt: skip


def c04_dedupe_horizon(facts: Facts) -> Iterator[Finding]:
    app = facts.app.loaded()
    horizons = {table.name: table.horizon for table in app.tables if table.horizon is not None}
    for agent in app.agents:
        horizon = None if agent.dedupe is None else horizons.get(agent.dedupe.table)
        if agent.dedupe is None or horizon is None:
            continue
        for topic in facts.existing(agent.topics):
            try:
                kept = retention_of(facts.config(topic.name))
            except CouldNotCheck as hidden:
                yield unchecked("C04", topic.name, hidden.reason)
                continue
            if kept is None or kept > horizon:
                yield warning(
                    "C04", agent.dedupe.table,
                    f"{agent.dedupe.table} keeps marks {duration(horizon)}, {topic.name} keeps records "
                    + ("for ever" if kept is None else duration(kept)),
                    f"replays older than {duration(horizon)} are not recognised",
                    f"declare {agent.dedupe.table} with a horizon of {duration(kept)}" if kept is not None
                    else "do not replay what is older, or bound the topic's retention",
                )  # fmt: skip


def c05_open_page(facts: Facts) -> Iterator[Finding]:
    web = facts.app.settings.web
    if web.web_port and web.web_bind not in HERE and web.web_show_values and web.web_token is None:
        yield warning(
            "C05", "STREAMAPP_WEB_BIND", f"web_bind {web.web_bind} with web_show_values and without web_token",
            "whoever reaches the port reads keys and values", "set STREAMAPP_WEB_TOKEN, or STREAMAPP_WEB_BIND=127.0.0.1",
        )  # fmt: skip


CHECKS: Final = (
    Check(
        id="C01",
        title="what the guarantee rests on",
        level=Level.ERROR,
        reads=("workers", "ends"),
        look=c01_guarantee,
        at_start=True,
        refuses=True,
    ),
    Check(
        id="C02",
        title="large tables without a standby",
        level=Level.WARNING,
        reads=("workers", "directory", "ends"),
        look=c02_large_tables,
    ),
    Check(
        id="C03",
        title="the data directory",
        level=Level.ERROR,
        reads=("directory",),
        look=c03_directory,
        at_start=True,
        refuses=True,
    ),
    Check(
        id="C04",
        title="dedupe against retention",
        level=Level.WARNING,
        reads=("topics", "configs"),
        look=c04_dedupe_horizon,
        at_start=True,
    ),
    Check(id="C05", title="who can read the page", level=Level.WARNING, reads=(), look=c05_open_page, at_start=True),
)

__all__ = ["CHECKS"]
