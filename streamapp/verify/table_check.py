"""Tables against their changelogs, wherever they are held: closed stores key by key, live workers by digest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamapp.clock import Deadline
from streamapp.digest import TableDigest, digest_of
from streamapp.errors import DataDirLocked, StateUnusable
from streamapp.identity import LOCK_FILE, WEB_FILE
from streamapp.kafka import client_config
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.inspector import Inspector, Layout
from streamapp.ports import Frozen, Store
from streamapp.records import Partition
from streamapp.state.closed import ClosedDataDir
from streamapp.state.identity import Identity
from streamapp.verify.duplicates import hashed, readable
from streamapp.verify.rows import Check, NoteRow, Row, TableRow, Verdict
from streamapp.verify.subject import Subject
from streamapp.verify.tables import Fold, compare
from streamapp.verify.workers import HeldPartition, LiveWorker, WorkerSilent

if TYPE_CHECKING:
    from streamapp.verify.run import Options, Watcher

LIVE_TRIES: Final = 3
"""Times that a live table has to differ, each at another offset: compaction may take records between digest and reading, once."""


class _Undecided(Exception):
    """The changelog cannot be read up to the offset now."""


class _BeyondLog(Exception):
    """The offset is not in the changelog."""


class TableCheck:
    """The check of all tables at all places. Blocks; one thread."""

    def __init__(
        self, subject: Subject, options: Options, scratch: Callable[[], AbstractContextManager[Store]], watcher: Watcher
    ) -> None:
        """Raises SettingInvalid: a data directory that is none, a URL that is none."""
        self._subject = subject
        self._options = options
        self._scratch = scratch
        self._watcher = watcher
        self._show = hashed if options.hidden else readable
        self._rows: list[Row] = []
        self._ids: dict[str, str] = {}
        self._tombstones_kept: dict[str, float] = {}
        self._seen: set[tuple[str, int]] = set()
        self._compared = 0
        self._directories = [ClosedDataDir(path, subject.app_id) for path in options.data_dirs or self._own_directories()]
        self._workers = [LiveWorker(url, options.timeout) for url in options.workers or subject.settings.web.web_peers]

    def run(self, inspector: Inspector, layout: Layout) -> tuple[list[Row], int]:
        """Return the rows, and how many table partitions were compared."""
        if not self._subject.changelogs:
            return [], 0
        if not (self._directories or self._workers):
            self._note(
                Verdict.UNCHECKED if Check.TABLES in self._options.only else Verdict.NOTE,
                "not compared",
                "tables",
                "no data directory here and no worker named: --data-dir, --worker, or STREAMAPP_WEB_PEERS",
            )
            return self._rows, 0
        self._ask_about_changelogs(layout)
        for directory in self._directories:
            self._closed(inspector, layout, directory)
        for worker in self._workers:
            self._live(inspector, layout, worker)
        self._tell_unseen(layout)
        return self._rows, self._compared

    def _own_directories(self) -> list[Path]:
        """Return the data directories that the settings name, or workers of this app beside the one that they would name."""
        identity = self._subject.settings.identity
        directory = identity.directory
        if identity.data_dir is not None or identity.worker_id is not None:
            return [directory] if (directory / LOCK_FILE).is_file() else []
        return sorted(path.parent for path in directory.parent.glob(f"*/{LOCK_FILE}"))

    def _ask_about_changelogs(self, layout: Layout) -> None:
        names = [changelog for changelog in self._subject.changelogs.values() if layout.partitions(changelog)]
        admin = KafkaAdmin(client_config.admin(self._subject.settings, "verify"))
        self._ids = admin.topic_ids(names, Deadline.after(self._options.timeout))
        configs = admin.topic_configs(names, Deadline.after(self._options.timeout))
        self._tombstones_kept = {name: int(configs.get(name, {}).get("delete.retention.ms", 86_400_000)) / 1000 for name in names}

    # --- closed stores

    def _closed(self, inspector: Inspector, layout: Layout, directory: ClosedDataDir) -> None:
        if (pid := directory.holder()) is not None:
            self._held(directory, pid)
            return
        stores = directory.tables()
        if not stores:
            self._note(Verdict.NOTE, "empty", str(directory.path), "no table has been kept here yet")
        for table, number in stores:
            changelog = self._changelog(table, number, layout)
            if changelog is None:
                self._row(Verdict.NOTE if table not in self._subject.changelogs else Verdict.FINDING, "no changelog", table, number, str(directory.path),
                          detail="the app has no such table, or its changelog has no such partition")  # fmt: skip
                continue
            try:
                self._closed_store(inspector, directory, table, changelog)
            except DataDirLocked as taken:
                self._row(
                    Verdict.UNCHECKED,
                    "in use",
                    table,
                    number,
                    str(directory.path),
                    changelog.topic,
                    detail=f"{taken}: run it again",
                )
                return

    def _held(self, directory: ClosedDataDir, pid: int) -> None:
        """A live worker has the directory: it is asked instead, where it said that it can be reached."""
        url = _read(directory.path / WEB_FILE)
        named = {worker.url for worker in self._workers}
        if not url:
            if not named:
                self._note(
                    Verdict.UNCHECKED,
                    "in use",
                    str(directory.path),
                    f"in use by the live worker with process id {pid}, which has no web port: stop it, or start it with STREAMAPP_WEB_PORT",
                )
            return
        if url not in named:
            worker = LiveWorker(url, self._options.timeout)
            try:
                worker.held()
            except WorkerSilent as silent:
                self._note(
                    Verdict.UNCHECKED, "in use", str(directory.path), f"in use by the live worker with process id {pid}: {silent}"
                )
                return
            if worker.pid == pid:
                self._workers.append(worker)
            else:
                self._note(
                    Verdict.UNCHECKED,
                    "in use",
                    str(directory.path),
                    f"in use by the live worker with process id {pid}; {url} is the process {worker.pid}",
                )

    def _closed_store(self, inspector: Inspector, directory: ClosedDataDir, table: str, changelog: Partition) -> None:
        place = str(directory.path)
        identity = Identity(
            app_id=self._subject.app_id, table=table, partition=changelog.number, changelog_id=self._ids[changelog.topic]
        )
        try:
            with directory.store(identity) as store:
                if (stale := self._stale(inspector, store, changelog)) is not None:
                    self._row(
                        Verdict.NOTE,
                        "stale",
                        table,
                        changelog.number,
                        place,
                        changelog.topic,
                        offset=store.changelog_offset,
                        detail=stale,
                    )
                    return
                self._compare_rows(inspector, store, table, changelog, place)
        except StateUnusable as unusable:
            self._row(
                Verdict.FINDING,
                "unusable",
                table,
                changelog.number,
                place,
                changelog.topic,
                detail=f"{unusable}; a worker would rebuild it from the changelog",
            )
        except OSError as refused:
            self._row(Verdict.UNCHECKED, "unreadable", table, changelog.number, place, changelog.topic, detail=str(refused))

    def _stale(self, inspector: Inspector, store: Frozen, changelog: Partition) -> str | None:
        """Return why the store's content proves nothing: tombstones written since it was current may be gone."""
        age = None if store.current_at is None else time.time() - store.current_at
        kept = self._tombstones_kept[changelog.topic]
        if age is None or age < kept or (store.changelog_offset or 0) >= inspector.ends(changelog)[1]:
            return None
        return (
            f"left behind {age / 3600:.0f} h ago, longer than tombstones are kept ({kept / 3600:g} h): a worker would rebuild it"
        )

    def _compare_rows(self, inspector: Inspector, store: Frozen, table: str, changelog: Partition, place: str) -> None:
        held = digest_of(store.items())
        offset = store.changelog_offset
        with self._scratch() as scratch:
            fold = self._folded(inspector, scratch, table, changelog, place, offset, held)
            if fold is None:
                return
            folded = fold.digest()
            if folded == held:
                self._row(Verdict.OK, "equal", table, changelog.number, place, changelog.topic, offset, held, folded)
                return
            found = compare(store.items(), fold, self._show, named=self._options.named)
            told = f"{found.different} keys differ, {found.missing} are missing from the table, {found.extra} from the changelog"
            if found.wrong:
                self._row(
                    Verdict.FINDING,
                    "different",
                    table,
                    changelog.number,
                    place,
                    changelog.topic,
                    offset,
                    held,
                    folded,
                    told,
                    found.named,
                )
            else:
                self._row(
                    Verdict.OK, "equal", table, changelog.number, place, changelog.topic, offset, held, folded,
                    f"but for {found.undecided} keys that changed later, whose earlier records compaction may have taken",
                )  # fmt: skip

    # --- live workers

    def _live(self, inspector: Inspector, layout: Layout, worker: LiveWorker) -> None:
        try:
            held = worker.held()
            if worker.app_id != self._subject.app_id:
                raise WorkerSilent(f"{worker.url}: this is a worker of app {worker.app_id!r}, not of {self._subject.app_id!r}")
            for each in held:
                changelog = self._changelog(each.table, each.number, layout)
                if changelog is None:
                    self._row(
                        Verdict.FINDING,
                        "no changelog",
                        each.table,
                        each.number,
                        worker.url,
                        detail="the worker has a table that this app does not declare, or whose changelog is gone",
                    )
                else:
                    self._live_table(inspector, worker, each, changelog)
        except WorkerSilent as silent:
            self._note(Verdict.UNCHECKED, "silent", worker.url, str(silent))

    def _live_table(self, inspector: Inspector, worker: LiveWorker, each: HeldPartition, changelog: Partition) -> None:
        for attempt in range(1, LIVE_TRIES + 1):
            live = worker.digest(each)
            if live is None:
                self._row(
                    Verdict.NOTE,
                    "moved",
                    each.table,
                    each.number,
                    worker.url,
                    changelog.topic,
                    detail="it went to another worker meanwhile",
                )
                return
            held = TableDigest(live.keys, live.digest)
            with self._scratch() as scratch:
                fold = self._folded(inspector, scratch, each.table, changelog, worker.url, live.offset, held)
                if fold is None:
                    return
                folded = fold.digest()
                if folded == held:
                    self._row(
                        Verdict.OK, "equal", each.table, each.number, worker.url, changelog.topic, live.offset, held, folded
                    )
                    return
                if attempt == LIVE_TRIES or not fold.hides_some():
                    told = "stop the worker and run it on its data directory to see which keys differ"
                    self._row(
                        Verdict.FINDING,
                        "different",
                        each.table,
                        each.number,
                        worker.url,
                        changelog.topic,
                        live.offset,
                        held,
                        folded,
                        told,
                    )
                    return

    # --- the changelog

    def _changelog(self, table: str, number: int, layout: Layout) -> Partition | None:
        self._seen.add((table, number))
        changelog = self._subject.changelogs.get(table)
        where = Partition(changelog, number) if changelog is not None else None
        return where if where in layout.leaders else None

    def _folded(
        self,
        inspector: Inspector,
        scratch: Store,
        table: str,
        changelog: Partition,
        place: str,
        offset: int | None,
        held: TableDigest,
    ) -> Fold | None:
        """Return the changelog folded up to `offset`; None where a row says why it could not be."""
        try:
            return self._fold(inspector, scratch, changelog, offset or 0)
        except _BeyondLog as beyond:
            self._row(
                Verdict.FINDING,
                "not in the log",
                table,
                changelog.number,
                place,
                changelog.topic,
                offset,
                held,
                detail=str(beyond),
            )
        except _Undecided as undecided:
            self._row(
                Verdict.UNCHECKED,
                "undecided",
                table,
                changelog.number,
                place,
                changelog.topic,
                offset,
                held,
                detail=str(undecided),
            )
        return None

    def _fold(self, inspector: Inspector, scratch: Store, changelog: Partition, offset: int) -> Fold:
        start, stable = self._settled(inspector, changelog, offset)
        fold = Fold(scratch, offset)
        self._watcher.begin(f"reading {changelog}", stable - start)
        try:
            for messages, passed in inspector.read({changelog: (start, stable)}):
                before: dict[bytes, bytes | None] = {}
                since: list[bytes] = []
                for message in messages:
                    key, at = message.key(), message.offset()
                    if key is None or at is None:
                        continue  # none of ours, and no table's
                    if at < offset:
                        before[key] = message.value()
                    else:
                        since.append(key)
                fold.take(before, since)
                self._watcher.advance(passed)
        finally:
            self._watcher.end()
        return fold

    def _settled(self, inspector: Inspector, changelog: Partition, offset: int) -> tuple[int, int]:
        """Return the changelog's start and stable end, once all below `offset` is decided: markers come after the commit's answer."""
        deadline = Deadline.after(self._options.timeout)
        while True:
            start, stable, high = inspector.ends(changelog)
            if offset > high:
                raise _BeyondLog(f"its offset {offset} lies beyond the changelog's end {high}; a worker would rebuild it")
            if offset < start:
                raise _BeyondLog(f"its offset {offset} lies before the changelog's start {start}; a worker would rebuild it")
            if offset <= stable:
                return start, stable
            if deadline.passed:
                raise _Undecided(f"an open transaction holds the changelog at offset {stable}, below the table's {offset}")
            time.sleep(min(0.05, deadline.left))  # the broker tells nobody when a marker is written

    # --- rows

    def _tell_unseen(self, layout: Layout) -> None:
        for table, changelog in sorted(self._subject.changelogs.items()):
            partitions = layout.partitions(changelog)
            unseen = [each.number for each in partitions if (table, each.number) not in self._seen]
            if unseen:
                numbers = ", ".join(map(str, unseen))
                self._note(
                    Verdict.NOTE,
                    "not held here",
                    table,
                    f"partitions {numbers} of {len(partitions)} are at none of the places looked at",
                )

    def _note(self, verdict: Verdict, status: str, about: str, detail: str) -> None:
        self._rows.append(NoteRow(verdict=verdict, status=status, about=about, detail=detail))

    def _row(
        self,
        verdict: Verdict,
        status: str,
        table: str,
        number: int,
        place: str,
        changelog: str | None = None,
        offset: int | None = None,
        held: TableDigest | None = None,
        folded: TableDigest | None = None,
        detail: str | None = None,
        differences: Sequence[str] = (),
    ) -> None:
        self._compared += folded is not None
        self._rows.append(
            TableRow(
                verdict=verdict,
                status=status,
                detail=detail,
                table=table,
                partition=number,
                changelog=changelog,
                place=place,
                offset=offset,
                keys=None if held is None else held.keys,
                digest=None if held is None else held.digest,
                changelog_keys=None if folded is None else folded.keys,
                changelog_digest=None if folded is None else folded.digest,
                differences=tuple(differences),
            )
        )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


__all__ = ["TableCheck"]
