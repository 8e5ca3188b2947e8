"""Facts from a cluster, live workers and this machine: each read once, when a check that is asked for needs it."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, TypeVar, cast

from streamapp.doctor.check import Check
from streamapp.doctor.directories import directory_at
from streamapp.doctor.facts import (
    App,
    Directory,
    Ends,
    Facts,
    Group,
    Letters,
    Member,
    OpenTransaction,
    Rights,
    Sample,
    Topic,
    Unread,
)
from streamapp.doctor.rights import rights_of
from streamapp.doctor.workers import addresses, ask
from streamapp.errors import BrokerUnreachable, NotAllowed, SettingInvalid
from streamapp.identity import DataDir
from streamapp.kafka.client_config import group_instance_id
from streamapp.kafka.examiner import Examiner, MemberSeen
from streamapp.kafka.groups import group_partition
from streamapp.kafka.inspector import Inspector, Layout, LogChanged
from streamapp.pipeline.dead_letter import PREFIX
from streamapp.pipeline.spec import source_sets
from streamapp.ports import LogReader
from streamapp.records import Partition, RawRecord
from streamapp.worker.meta import TopicRow, WorkerRow, decode, meta_topic

T = TypeVar("T")

RECENT: Final = 900.0
"""Seconds that the rates of partitions are taken over."""
SAMPLED: Final = 300
"""Records at the end of a partition that are looked at."""
SAMPLED_PARTITIONS: Final = 64
"""Of a topic, spread evenly: more tell nothing new, and cost."""
TOP_KEYS: Final = 3
UNREAD_LOOKED_AT: Final = 50
"""Offsets from the committed one on among which the first unread record is looked for: the others may be commit markers."""
OFFSETS_TOPIC: Final = "__consumer_offsets"
OFFSETS_LOOKED_AT: Final = 50_000
"""Records at the end of the group's partition of it."""
_REPLAYED_AT: Final = f"{PREFIX}replayed-at"
LettersReader = Callable[[LogReader, Mapping[str, Mapping[str, str]]], Mapping[str, Letters]]
"""Reads the dead letters of the app; given the settings of its topics. The room of dead letters lies above this one."""


class Gatherer:
    """One examination. Blocks; one thread. `close` it."""

    def __init__(
        self,
        app: App,
        timeout: float,
        *,
        urls: Sequence[str] = (),
        letters: LettersReader | None = None,
        show_keys: bool = False,
        directory: DataDir | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`directory`: of the worker that starts in this process; None: a command asks."""
        self._app = app
        self._settings = app.settings
        self._timeout = timeout
        self._urls = urls
        self._read_letters = letters
        self._show_keys = show_keys
        self._held = directory
        self._now = now
        self._found: dict[str, Any] = {}
        self._silent: tuple[str, ...] = ()
        self._examiner = Examiner(app.settings, timeout)
        self._inspector: Inspector | None = None

    def facts(self, checks: Iterable[Check]) -> Facts:
        """Return what these checks look at. Raises BrokerUnreachable: no broker answers at all."""
        wanted = {name for check in checks for name in check.reads}
        self._told("layout", self._examiner.layout)
        at_start = self._held is not None
        if at_start:
            wanted -= {"workers"}  # a worker that starts waits for nobody
        told = {name: self._read(name) for name in sorted(wanted)}
        return Facts(
            now=self._now(),
            app=self._app,
            at_start=at_start,
            worker=None if self._held is None else self._held.worker_id,
            silent=self._silent,
            show_keys=self._show_keys,
            **told,
        )

    def close(self) -> None:
        """Close it. May be called twice."""
        self._examiner.close()
        if self._inspector is not None:
            self._inspector.close()

    # --- reading once

    def _read(self, name: str) -> Any:
        """Return a fact, or why it could not be read."""
        try:
            return self._told(name, getattr(self, f"_{name}"))
        except _Unreadable as unreadable:
            return Unread(str(unreadable))

    def _told(self, name: str, read: Callable[[], T]) -> T:
        """Return what `read` returned the first time. Raises _Unreadable as it did then; BrokerUnreachable: the layout was not told."""
        if name not in self._found:
            try:
                self._found[name] = read()
            except (NotAllowed, BrokerUnreachable, SettingInvalid, LogChanged, _Unreadable) as failure:
                if name == "layout":
                    raise
                self._found[name] = _Unreadable(" ".join(str(failure).split()))
        found = self._found[name]
        if isinstance(found, _Unreadable):
            raise found
        return found  # type: ignore[no-any-return]  # put there by the very same name

    def _of(self, name: str) -> Any:
        return self._told(name, getattr(self, f"_{name}"))

    # --- the cluster

    @property
    def _addresses(self) -> dict[int, tuple[str, int]]:
        return self._told("layout", self._examiner.layout)[0]

    def _brokers(self) -> tuple[int, ...]:
        return tuple(sorted(self._addresses))

    def _kafka(self) -> int:
        return self._examiner.metadata_version(self._addresses.values())

    def _clock(self) -> float:
        return self._examiner.clock_ahead(next(iter(self._addresses.values())))

    def _topics(self) -> dict[str, Topic]:
        seen = self._told("layout", self._examiner.layout)[1]
        return {name: Topic(name, topic.partitions, topic.replicas) for name, topic in seen.items()}

    def _configs(self) -> dict[str, dict[str, str]]:
        topics = self._of("topics")
        return self._examiner.topic_configs([name for name in self._app.all_topics if name in topics])

    def _broker_config(self) -> dict[str, str]:
        return self._examiner.broker_config(self._brokers()[0])

    def _rights(self) -> Rights:
        return rights_of(self._examiner, self._app, {name: topic.partitions for name, topic in self._of("topics").items()})

    # --- the group

    @property
    def _sources(self) -> dict[str, int]:
        topics = self._of("topics")
        return {name: topics[name].partitions for name in self._app.sources if name in topics}

    def _source_partitions(self) -> list[Partition]:
        return [Partition(name, number) for name, count in self._sources.items() for number in range(count)]

    def _group(self) -> Group:
        seen = self._examiner.group(self._sources)
        sets = ["+".join(topics) for topics in source_sets(self._app.agents, self._app.tables)]
        return Group(
            seen.state,
            seen.assignor,
            tuple(
                Member(member.id, self._worker_of(member, sets), member.host, member.assigned, member.instance_id is not None)
                for member in seen.members
            ),
        )

    def _worker_of(self, member: MemberSeen, sets: Iterable[str]) -> str:
        """Return the worker id within the names that our clients have; the name itself where it is none of ours."""
        for set_name in sets:
            before, sign, behind = group_instance_id(self._settings, "\0", set_name).partition("\0")
            # A client's id is made as the instance's.
            for name in (member.instance_id, member.client_id):
                if name and sign and name.startswith(before) and name.endswith(behind) and len(name) > len(before) + len(behind):
                    return name[len(before) : len(name) - len(behind)]
        return member.instance_id or member.client_id

    def _committed(self) -> dict[Partition, int]:
        return self._examiner.committed(self._sources)

    def _empty_since(self) -> float | None:
        """Return the moment of the last record about the group: what it wrote when its last member went, or committed last."""
        if not self._of("group").is_empty:
            return None
        topic = self._of("topics").get(OFFSETS_TOPIC)
        if topic is None:
            return None
        partition = Partition(OFFSETS_TOPIC, group_partition(self._app.app_id, topic.partitions))
        (start, stable, _) = self._examiner.ends([partition])[partition]
        last: int | None = None
        for record in self._records({partition: (max(start, stable - OFFSETS_LOOKED_AT), stable)}):
            if group_of(record.key()) == self._app.app_id:
                last = max(last or 0, record.timestamp()[1])
        return None if last is None else last / 1000

    def _meta(self) -> tuple[dict[str, TopicRow], dict[str, WorkerRow]]:
        name = meta_topic(self._app.app_id)
        if name not in self._of("topics"):
            return {}, {}
        partition = Partition(name, 0)
        (start, stable, _) = self._examiner.ends([partition])[partition]
        topics: dict[str, TopicRow | None] = {}
        workers: dict[str, WorkerRow | None] = {}
        for record in self._records({partition: (start, stable)}):
            kind, _, of = (record.key() or b"").decode(errors="replace").partition("/")
            if kind == "topic":
                topics[of] = decode(TopicRow, record.value())
            elif kind == "worker":
                workers[of] = decode(WorkerRow, record.value())
        return {n: r for n, r in topics.items() if r is not None}, {n: r for n, r in workers.items() if r is not None}

    def _topics_seen(self) -> dict[str, TopicRow]:
        found: dict[str, TopicRow] = self._of("meta")[0]
        return found

    def _workers_seen(self) -> dict[str, WorkerRow]:
        found: dict[str, WorkerRow] = self._of("meta")[1]
        return found

    # --- logs

    @property
    def _log(self) -> Inspector:
        if self._inspector is None:
            self._inspector = Inspector(self._settings, self._timeout, name="doctor")
        return self._inspector

    def _records(self, ranges: Mapping[Partition, tuple[int, int]]) -> Iterator[RawRecord]:
        for records, _ in self._log.read(ranges):
            yield from cast("list[RawRecord]", records)  # they have its shape, which the client library's types do not say

    def _ends(self) -> dict[Partition, Ends]:
        topics = self._of("topics")
        watched = [*self._app.sources, *self._app.changelogs]
        partitions = [Partition(name, number) for name in watched if name in topics for number in range(topics[name].partitions)]
        return {where: Ends(*ends) for where, ends in self._examiner.ends(partitions).items()}

    def _rates(self) -> dict[Partition, float]:
        ends: dict[Partition, Ends] = self._of("ends")
        began = self._examiner.offsets_at(self._source_partitions(), self._now() - RECENT)
        return {where: max(0, ends[where].high - offset) / RECENT if offset >= 0 else 0.0 for where, offset in began.items()}

    def _ages(self) -> dict[Partition, float]:
        ends: dict[Partition, Ends] = self._of("ends")
        committed: dict[Partition, int] = self._of("committed")
        earliest = self._settings.topics.auto_offset_reset == "earliest"
        at = {
            where: committed.get(where, ends[where].start if earliest else ends[where].stable)
            for where in self._source_partitions()
        }
        ranges = {
            where: (max(offset, ends[where].start), min(max(offset, ends[where].start) + UNREAD_LOOKED_AT, ends[where].stable))
            for where, offset in at.items()
            if offset < ends[where].stable
        }
        oldest: dict[Partition, float] = {}
        for record in self._records(ranges):
            where = Partition(str(record.topic()), int(record.partition() or 0))
            if where not in oldest:
                oldest[where] = _made_at(record)
        now = self._now()
        return {where: max(0.0, now - oldest[where]) if where in oldest else 0.0 for where in at}

    def _samples(self) -> dict[Partition, Sample]:
        topics = self._of("topics")
        partitions = [
            Partition(name, number)
            for name in (*self._app.sources, *self._app.outputs)
            if name in topics
            for number in _spread(topics[name].partitions)
        ]
        ends = self._examiner.ends(partitions)
        ranges = {where: (max(start, stable - SAMPLED), stable) for where, (start, stable, _) in ends.items()}
        keys: dict[Partition, Counter[bytes | None]] = {}
        sizes: dict[Partition, list[int]] = {}
        for record in self._records(ranges):
            where = Partition(str(record.topic()), int(record.partition() or 0))
            keys.setdefault(where, Counter())[_bytes(record.key())] += 1
            sizes.setdefault(where, []).append(len(record.value() or b""))
        return {
            where: Sample(
                records=counted.total(),
                null_keys=counted[None],
                top_keys=tuple((key, times) for key, times in counted.most_common(TOP_KEYS + 1) if key is not None)[:TOP_KEYS],
                value_sizes=tuple(sizes[where]),
            )
            for where, counted in keys.items()
        }

    def _transactions(self) -> list[OpenTransaction]:
        ends: dict[Partition, Ends] = self._of("ends")
        held = [where for where, each in ends.items() if each.stable < each.high]
        # Most of them end while one looks; those that are still at the same place are told.
        again = self._examiner.ends(held)
        stuck = {
            where: again[where] for where in held if again[where][1] == ends[where].stable and again[where][1] < again[where][2]
        }
        if not stuck:
            return []
        layout = Layout(self._log.layout().leaders, self._addresses)
        producers = {
            where: next((each for each in found if each.start == stuck[where][1]), found[0])
            for where, found in self._log.owners(layout, stuck).items()
            if found
        }
        told = self._log.transactions(layout, {each.producer_id for each in producers.values()})
        now, rows = self._now(), []
        for where, (_, stable, high) in sorted(stuck.items()):
            producer = producers.get(where)
            known = None if producer is None else told.get(producer.producer_id)
            began = None
            if known is not None and known.start_ms > 0:
                began = known.start_ms
            elif producer is not None and producer.last_timestamp_ms > 0:
                began = producer.last_timestamp_ms
            rows.append(
                OpenTransaction(
                    partition=where,
                    stable=stable,
                    high=high,
                    leader=layout.leaders.get(where),
                    producer_id=None if producer is None else producer.producer_id,
                    epoch=None if producer is None else producer.epoch,
                    transactional_id=None if known is None else known.transactional_id,
                    state=None if known is None else known.state,
                    age=None if began is None else max(0.0, now - began / 1000),
                    timeout=None if known is None else known.timeout_ms / 1000,
                    start=None if producer is None else producer.start,
                )
            )
        return rows

    # --- dead letters, this machine, live workers

    def _letters(self) -> Mapping[str, Letters]:
        if self._read_letters is None:
            raise _Unreadable("dead letters are counted by the command, not at a start")
        return self._read_letters(cast("LogReader", self._log), self._of("configs"))

    def _directory(self) -> Directory:
        identity = self._settings.identity
        return directory_at(identity.directory, identity.worker_id, self._held)

    def _workers(self) -> Any:
        urls = addresses(self._settings, self._urls)
        if not urls:
            raise _Unreadable("no worker is known: STREAMAPP_WEB_PORT is 0, and neither --from nor STREAMAPP_WEB_PEERS names one")
        heard, silent = ask(urls, self._settings, self._timeout)
        reasons = tuple(f"{url}: {why}" for url, why in sorted(silent.items()))
        if not heard:
            raise _Unreadable("no worker answers: " + "; ".join(reasons))
        self._silent = reasons
        return tuple(heard)


class _Unreadable(Exception):
    """A fact that was asked for and not told."""


def group_of(key: bytes | str | None) -> str | None:
    """Return whose record of `__consumer_offsets` this is: every kind of key begins with its version and the group."""
    if not isinstance(key, bytes) or len(key) < 4:
        return None
    (size,) = struct.unpack_from(">h", key, 2)
    return key[4 : 4 + size].decode(errors="replace") if size >= 0 else None


def _spread(partitions: int) -> Iterable[int]:
    if partitions <= SAMPLED_PARTITIONS:
        return range(partitions)
    return [number * partitions // SAMPLED_PARTITIONS for number in range(SAMPLED_PARTITIONS)]


def _made_at(record: RawRecord) -> float:
    """Return when a record was made, or sent again: a replayed copy is no older than its replay."""
    for name, value in record.headers() or ():
        if name == _REPLAYED_AT and value is not None:
            text = value.decode(errors="replace") if isinstance(value, bytes) else value
            with suppress(ValueError):
                return datetime.fromisoformat(text).timestamp()
    return record.timestamp()[1] / 1000


def _bytes(key: bytes | str | None) -> bytes | None:
    return key.encode() if isinstance(key, str) else key


__all__ = ["Gatherer", "LettersReader", "group_of"]
