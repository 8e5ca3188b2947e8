"""One run of `streamapp verify`: picks the readers, looks, and returns the report."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from streamapp.clock import Deadline
from streamapp.errors import SettingInvalid
from streamapp.kafka import client_config
from streamapp.kafka.inspector import Inspector, Layout, LogChanged
from streamapp.kafka.versions import await_broker
from streamapp.ports import LogReader, Store
from streamapp.records import Partition, RawRecord
from streamapp.state.budget import RocksBudget
from streamapp.state.identity import Identity
from streamapp.state.rocksdb import RocksStores
from streamapp.verify.duplicates import DuplicateFinder, extractor
from streamapp.verify.holders import holders
from streamapp.verify.lag import lag_of
from streamapp.verify.rows import (
    Check,
    DuplicateRow,
    DuplicatesRow,
    LagRow,
    NoteRow,
    Report,
    Row,
    Verdict,
    WatchedPartition,
    Watermarks,
)
from streamapp.verify.subject import SOURCE, Subject
from streamapp.verify.table_check import TableCheck
from streamapp.verify.transactions import judge
from streamapp.verify.unread import count_unread

SCRATCH_BYTES: Final = 64 * 1024 * 1024
"""Memory of the scratch store that folds a changelog, or remembers ids; what is more lies on disk."""


class Watcher(Protocol):
    """Is told how a long reading goes on."""

    def begin(self, what: str, total: int) -> None: ...
    def advance(self, count: int) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Where to look for duplicates, and by what."""

    topic: str
    by: str
    per_partition: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asks for."""

    only: frozenset[Check] = frozenset()
    """Empty: all of them; duplicates where a topic is given."""
    data_dirs: Sequence[Path] = ()
    workers: Sequence[str] = ()
    timeout: float = 10.0
    """Seconds without an answer after which the broker counts as unreachable."""
    max_lag: int = 0
    hanging_after: float | None = None
    duplicates: Duplicates | None = None
    named: int = 20
    """Duplicates, and differences of one table, that are named one by one."""
    hidden: bool = False
    """Keys and ids are shown as hashes."""

    def wants(self, check: Check) -> bool:
        return check in self.only if self.only else check is not Check.DUPLICATES or self.duplicates is not None


class Verification:
    """One run. Blocks; one thread."""

    def __init__(self, subject: Subject, options: Options, watcher: Watcher) -> None:
        """Raises SettingInvalid: options that cannot be."""
        self._subject = subject
        self._options = options
        self._watcher = watcher
        self._rows: list[Row] = []
        self._checked: dict[Check, int] = {}
        if Check.DUPLICATES in options.only and options.duplicates is None:
            raise SettingInvalid("--only duplicates: say where and by what: --duplicates TOPIC --by key|header:NAME|json:FIELD")
        self._extract = extractor(options.duplicates.by) if options.duplicates is not None else None
        self._table_check = TableCheck(subject, options, self._scratch, watcher) if options.wants(Check.TABLES) else None

    def run(self) -> Report:
        """Look, and return what was found. Raises BrokerUnreachable, SettingInvalid."""
        settings, timeout = self._subject.settings, self._options.timeout
        await_broker(client_config.admin(settings, "verify"), Deadline.after(timeout), fencing=False)
        inspector = Inspector(settings, timeout)
        try:
            layout = inspector.layout()
            self._require_topic(layout)
            self._look(inspector, layout)
        except LogChanged as changed:
            raise SettingInvalid(f"{changed}: it changed while it was read; run it again") from changed
        finally:
            inspector.close()
        return Report(self._subject.app_id, self._checked, self._rows)

    def _require_topic(self, layout: Layout) -> None:
        asked = self._options.duplicates
        if asked is not None and not layout.partitions(asked.topic):
            near = ", ".join(sorted(topic for topic in self._subject.roles if layout.partitions(topic))) or "none"
            raise SettingInvalid(f"--duplicates {asked.topic}: there is no such topic; the app's are: {near}")

    def _look(self, inspector: Inspector, layout: Layout) -> None:
        wants = self._options.wants
        if wants(Check.TRANSACTIONS):
            self._transactions(inspector, layout)
        if wants(Check.LAG):
            self._lag(inspector, layout)
        if self._table_check is not None:
            rows, looked_at = self._table_check.run(inspector, layout)
            self._rows += rows
            self._checked[Check.TABLES] = looked_at
        if self._options.duplicates is not None and wants(Check.DUPLICATES):
            self._duplicates(inspector, layout, self._options.duplicates)

    # --- open transactions

    def _transactions(self, inspector: Inspector, layout: Layout) -> None:
        watched = [
            WatchedPartition(partition, role)
            for topic, role in sorted(self._subject.roles.items())
            for partition in layout.partitions(topic)
        ]
        self._checked[Check.TRANSACTIONS] = len(watched)
        held = {each: ends for each in watched if (ends := Watermarks(*inspector.ends(each.partition))).stable < ends.high}
        # Most of them end while one looks; those that are still at the same place are told.
        still = {
            each: after
            for each, before in held.items()
            if (after := Watermarks(*inspector.ends(each.partition))).stable == before.stable and after.stable < after.high
        }
        owners = holders(inspector, layout, {each.partition: ends.stable for each, ends in still.items()})
        for each, ends in still.items():
            if each.partition in owners.ended:
                continue
            self._rows.append(
                judge(
                    each,
                    ends,
                    owners.found.get(each.partition),
                    app_id=self._subject.app_id,
                    timeout=self._subject.settings.transaction.transaction_timeout,
                    hangs_after=self._options.hanging_after,
                )
            )

    # --- lag

    def _lag(self, inspector: Inspector, layout: Layout) -> None:
        sources = self._subject.topics(SOURCE)
        partitions = [partition for topic in sources for partition in layout.partitions(topic)]
        missing = [topic for topic in sources if not layout.partitions(topic)]
        # Without any of them it is more likely another broker than an app that is all well.
        verdict = Verdict.UNCHECKED if len(missing) == len(sources) else Verdict.NOTE
        for topic in missing:
            detail = f"this source topic does not exist on {self._subject.settings.broker.broker}"
            self._rows.append(NoteRow(verdict=verdict, status="missing", about=topic, detail=detail))
        self._checked[Check.LAG] = len(partitions)
        # Committed offsets before the ends: the other way round, an offset committed meanwhile would lie beyond its end.
        committed = inspector.committed(partitions) if partitions else {}
        for partition in partitions:
            ends = Watermarks(*inspector.ends(partition))
            if partition not in committed:
                self._rows.append(_undecided(partition, ends))
                continue
            offset = committed[partition]
            begin = ends.start if offset is None else offset
            unread = (
                count_unread(cast("LogReader", inspector), partition, begin, ends.stable)
                if ends.start <= begin < ends.stable
                else None
            )
            self._rows.append(lag_of(partition, ends, offset, unread, allowed=self._options.max_lag))

    # --- duplicates

    def _duplicates(self, inspector: Inspector, layout: Layout, asked: Duplicates) -> None:
        assert self._extract is not None
        ranges = {}
        for partition in layout.partitions(asked.topic):
            start, stable, _ = inspector.ends(partition)
            ranges[partition] = (start, stable)
        self._watcher.begin(f"reading {asked.topic}", sum(end - start for start, end in ranges.values()))
        try:
            with self._scratch() as seen:
                finder = DuplicateFinder(
                    seen, self._extract, per_partition=asked.per_partition, named=self._options.named, hidden=self._options.hidden
                )
                for messages, passed in inspector.read(ranges):
                    finder.take(cast("list[RawRecord]", messages))
                    self._watcher.advance(passed)
        finally:
            self._watcher.end()
        self._checked[Check.DUPLICATES] = finder.records
        for each in finder.first:
            self._rows.append(
                DuplicateRow(
                    verdict=Verdict.FINDING,
                    status="duplicate",
                    topic=asked.topic,
                    id=each.id,
                    partition=each.partition,
                    offset=each.offset,
                    first_partition=each.first_partition,
                    first_offset=each.first_offset,
                )
            )
        unnamed = finder.duplicates - len(finder.first)
        self._rows.append(
            DuplicatesRow(
                verdict=Verdict.FINDING if finder.duplicates else Verdict.OK,
                status="duplicates" if finder.duplicates else "none",
                detail=f"{unnamed} more are not named" if unnamed else None,
                topic=asked.topic,
                by=asked.by,
                records=finder.records,
                without_id=finder.without_id,
                duplicates=finder.duplicates,
            )
        )

    @contextmanager
    def _scratch(self) -> Iterator[Store]:
        """Make a store for this run, gone afterwards."""
        identity = Identity(app_id=self._subject.app_id, table="verify", partition=0, changelog_id="")
        with tempfile.TemporaryDirectory(prefix="streamapp-verify-") as folder:
            store = RocksStores(Path(folder), RocksBudget(SCRATCH_BYTES)).open(identity)
            try:
                yield store
            finally:
                store.close()


def _undecided(partition: Partition, ends: Watermarks) -> LagRow:
    return LagRow(
        verdict=Verdict.UNCHECKED,
        status="undecided",
        detail="an open transaction holds the group's offset: ask again when it has ended",
        topic=partition.topic,
        partition=partition.number,
        committed=None,
        end=ends.stable,
        lag=None,
        exact=False,
    )


__all__ = ["Duplicates", "Options", "Verification", "Watcher"]
