"""Tables against their changelogs, wherever they are held: closed stores key by key, live workers by digest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
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
from streamapp.verify.changelog import ChangelogFolder, NotInLog, Undecided
from streamapp.verify.duplicates import hashed, readable
from streamapp.verify.rows import Check, NoteRow, Row, TableRow, Verdict
from streamapp.verify.subject import Subject
from streamapp.verify.tables import Fold, compare
from streamapp.verify.workers import LiveWorker, WorkerSilent

if TYPE_CHECKING:
    from streamapp.verify.run import Options, Watcher

LIVE_TRIES: Final = 3
"""Times that a live table has to differ, each at another offset: compaction may take records between digest and reading, once."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A table partition at one place, and what it holds as far as it was read."""

    table: str
    number: int
    place: str
    changelog: Partition | None
    offset: int | None = None
    holds: TableDigest | None = None

    def row(
        self,
        verdict: Verdict,
        status: str,
        detail: str | None = None,
        *,
        folded: TableDigest | None = None,
        differences: Sequence[str] = (),
    ) -> TableRow:
        return TableRow(
            verdict=verdict,
            status=status,
            detail=detail,
            table=self.table,
            partition=self.number,
            changelog=None if self.changelog is None else self.changelog.topic,
            place=self.place,
            offset=self.offset,
            keys=None if self.holds is None else self.holds.keys,
            digest=None if self.holds is None else self.holds.digest,
            changelog_keys=None if folded is None else folded.keys,
            changelog_digest=None if folded is None else folded.digest,
            differences=tuple(differences),
        )


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
        self._directories = [ClosedDataDir(path, subject.app_id) for path in options.data_dirs or self._own_directories()]
        self._workers = [self._worker(url) for url in options.workers or subject.settings.web.web_peers]

    def run(self, inspector: Inspector, layout: Layout) -> tuple[list[Row], int]:
        """Return the rows, and how many table partitions were compared."""
        if not self._subject.changelogs:
            return [], 0
        if not (self._directories or self._workers):
            verdict = Verdict.UNCHECKED if Check.TABLES in self._options.only else Verdict.NOTE
            detail = "no data directory here and no worker named: --data-dir, --worker, or STREAMAPP_WEB_PEERS"
            self._note(verdict, "not compared", "tables", detail)
            return self._rows, 0
        self._ask_about_changelogs(layout)
        folder = ChangelogFolder(inspector, self._scratch, self._watcher, self._options.timeout)
        for directory in self._directories:
            self._closed(folder, layout, directory)
        for worker in self._workers:
            self._live(folder, layout, worker)
        self._tell_unseen(layout)
        return self._rows, sum(isinstance(row, TableRow) and row.changelog_digest is not None for row in self._rows)

    def _worker(self, url: str) -> LiveWorker:
        token = self._subject.settings.web.web_token
        return LiveWorker(url, self._options.timeout, None if token is None else token.reveal())

    def _own_directories(self) -> list[Path]:
        """Return the data directory that the settings name; where they name none, those of this app's workers that are here."""
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

    def _closed(self, folder: ChangelogFolder, layout: Layout, directory: ClosedDataDir) -> None:
        if (pid := directory.holder()) is not None:
            self._in_use(directory.path, pid)
            return
        stores = directory.tables()
        if not stores:
            self._note(Verdict.NOTE, "empty", str(directory.path), "no table has been kept here yet")
        for table, number in stores:
            held = self._held(table, number, str(directory.path), layout)
            if table not in self._subject.changelogs:
                self._rows.append(held.row(Verdict.NOTE, "no table", "the app has no table of this name (any more)"))
            elif held.changelog is None:
                self._rows.append(held.row(Verdict.FINDING, "no changelog", "its changelog has no such partition, or is gone"))
            else:
                told = len(self._rows)
                try:
                    self._closed_store(folder, directory, held, held.changelog)
                except DataDirLocked as taken:
                    del self._rows[told:]  # files that changed under the reading say nothing about the store
                    self._rows.append(held.row(Verdict.UNCHECKED, "in use", f"{taken}: run it again"))
                    return

    def _in_use(self, path: Path, pid: int) -> None:
        """A live worker has the directory: it is asked instead, where it said that it can be reached."""
        url = _read(path / WEB_FILE)
        if url in {worker.url for worker in self._workers}:
            return
        trouble = "it has no web port: stop it, or start it with STREAMAPP_WEB_PORT"
        if url:
            worker = self._worker(url)
            try:
                worker.held()
            except WorkerSilent as silent:
                trouble = str(silent)
            else:
                if worker.pid == pid:
                    self._workers.append(worker)
                    return
                trouble = f"{url} is the process {worker.pid}"
        if url or not self._workers:  # a worker that was named may well be this one
            detail = f"in use by the live worker with process id {pid}: {trouble}"
            self._note(Verdict.UNCHECKED, "in use", str(path), detail)

    def _closed_store(self, folder: ChangelogFolder, directory: ClosedDataDir, held: _Held, changelog: Partition) -> None:
        app_id, topic_id = self._subject.app_id, self._ids[changelog.topic]
        identity = Identity(app_id=app_id, table=held.table, partition=held.number, changelog_id=topic_id)
        try:
            with directory.store(identity) as store:
                held = replace(held, offset=store.changelog_offset)
                if (stale := self._stale(folder, store, changelog)) is not None:
                    self._rows.append(held.row(Verdict.NOTE, "stale", stale))
                    return
                held = replace(held, holds=digest_of(store.items()))
                with self._folded(folder, held, changelog) as fold:
                    if fold is not None:
                        self._compare_rows(store, held, fold)
        except StateUnusable as unusable:
            self._rows.append(held.row(Verdict.FINDING, "unusable", f"{unusable}; a worker would rebuild it from the changelog"))
        except OSError as refused:
            self._rows.append(held.row(Verdict.UNCHECKED, "unreadable", str(refused)))

    def _stale(self, folder: ChangelogFolder, store: Frozen, changelog: Partition) -> str | None:
        """Return why the store's content proves nothing: tombstones written since it was current may be gone."""
        age = None if store.current_at is None else time.time() - store.current_at
        kept = self._tombstones_kept[changelog.topic]
        if age is None or age < kept or (store.changelog_offset or 0) >= folder.stable_end(changelog):
            return None
        return (
            f"left behind {age / 3600:.0f} h ago, longer than tombstones are kept ({kept / 3600:g} h): a worker would rebuild it"
        )

    def _compare_rows(self, store: Frozen, held: _Held, fold: Fold) -> None:
        folded = fold.digest()
        if folded == held.holds:
            self._rows.append(held.row(Verdict.OK, "equal", folded=folded))
            return
        found = compare(store.items(), fold, self._show, named=self._options.named)
        if found.wrong:
            told = f"{found.different} keys differ, {found.missing} are missing from the table, {found.extra} from the changelog"
            self._rows.append(held.row(Verdict.FINDING, "different", told, folded=folded, differences=found.named))
        else:
            told = f"but for {found.undecided} keys that changed later, whose earlier records compaction may have taken"
            self._rows.append(held.row(Verdict.OK, "equal", told, folded=folded))

    # --- live workers

    def _live(self, folder: ChangelogFolder, layout: Layout, worker: LiveWorker) -> None:
        try:
            partitions = worker.held()
            if worker.app_id != self._subject.app_id:
                raise WorkerSilent(f"{worker.url}: this is a worker of app {worker.app_id!r}, not of {self._subject.app_id!r}")
            for each in partitions:
                held = self._held(each.table, each.number, worker.url, layout)
                if held.changelog is None:
                    detail = "the worker has a table that this app does not declare, or whose changelog is gone"
                    self._rows.append(held.row(Verdict.FINDING, "no changelog", detail))
                else:
                    self._live_table(folder, worker, held, held.changelog)
        except WorkerSilent as silent:
            self._note(Verdict.UNCHECKED, "silent", worker.url, str(silent))

    def _live_table(self, folder: ChangelogFolder, worker: LiveWorker, held: _Held, changelog: Partition) -> None:
        for attempt in range(1, LIVE_TRIES + 1):
            live = worker.digest(held.table, held.number)
            if live is None:
                self._rows.append(held.row(Verdict.NOTE, "moved", "it went to another worker meanwhile"))
                return
            held = replace(held, offset=live.offset, holds=TableDigest(live.keys, live.digest))
            with self._folded(folder, held, changelog) as fold:
                if fold is None:
                    return
                folded = fold.digest()
                if folded == held.holds:
                    self._rows.append(held.row(Verdict.OK, "equal", folded=folded))
                    return
                if attempt == LIVE_TRIES or not fold.hides_some():
                    told = "stop the worker and look into its data directory to see which keys differ"
                    self._rows.append(held.row(Verdict.FINDING, "different", told, folded=folded))
                    return

    # --- both

    def _held(self, table: str, number: int, place: str, layout: Layout) -> _Held:
        changelog = self._subject.changelogs.get(table)
        where = Partition(changelog, number) if changelog is not None else None
        return _Held(table, number, place, where if where in layout.leaders else None)

    @contextmanager
    def _folded(self, folder: ChangelogFolder, held: _Held, changelog: Partition) -> Iterator[Fold | None]:
        """Fold the changelog up to the table's offset; None where a row says why it could not be."""
        try:
            with folder.folded(changelog, held.offset or 0) as fold:
                yield fold
            return
        except NotInLog as beyond:
            row = held.row(Verdict.FINDING, "not in the log", str(beyond))
        except Undecided as undecided:
            row = held.row(Verdict.UNCHECKED, "undecided", str(undecided))
        self._rows.append(row)
        yield None

    def _tell_unseen(self, layout: Layout) -> None:
        seen = {(row.table, row.partition) for row in self._rows if isinstance(row, TableRow)}
        for table, changelog in sorted(self._subject.changelogs.items()):
            partitions = layout.partitions(changelog)
            unseen = [str(each.number) for each in partitions if (table, each.number) not in seen]
            if unseen:
                detail = f"partitions {', '.join(unseen)} of {len(partitions)} are at none of the places looked at"
                self._note(Verdict.NOTE, "not held here", table, detail)

    def _note(self, verdict: Verdict, status: str, about: str, detail: str) -> None:
        self._rows.append(NoteRow(verdict=verdict, status=status, about=about, detail=detail))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


__all__ = ["TableCheck"]
