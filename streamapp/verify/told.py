"""What live workers tell of their partitions: their status documents, and the samples and limits in them as lag is judged by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.error import HTTPError, URLError

import msgspec

from streamapp.errors import SettingInvalid
from streamapp.monitor.lag.inputs import Change, Happening, RestoreShown, Sample
from streamapp.monitor.status import STATUS_PATH, Mark, PartitionStatus, Point, Standing, StatusDocument, read_document
from streamapp.pipeline.facts import StandsFor, Standstill
from streamapp.records import Partition
from streamapp.verify.workers import WorkerSilent, error_of, fetch

HISTORY: Final = "history=30m"
_CHANGES: Final = frozenset(Change)


@dataclass(frozen=True, slots=True)
class Told:
    """One partition, as its worker has it."""

    status: PartitionStatus
    at: float
    samples: tuple[Sample, ...]
    events: tuple[Happening, ...]
    standstills: tuple[Standstill, ...]
    restore: RestoreShown | None
    handler_p99: float | None
    last_commit: float | None


def ask_one_of(app_id: str, url: str, timeout: float, *, token: str | None = None) -> StatusDocument:
    """As `ask`. Raises SettingInvalid, too, where a worker of another app answers."""
    document = ask(url, timeout, token=token)
    if document.app_id != app_id:
        raise SettingInvalid(f"--from {url}: this is a worker of the app {document.app_id}, not of {app_id}")
    return document


def ask(url: str, timeout: float, *, token: str | None = None) -> StatusDocument:
    """Return the document of the worker at `url`, with its history. Raises WorkerSilent; SettingInvalid: no URL."""
    if not re.fullmatch(r"https?://[!-~]+", url):
        raise SettingInvalid(f"--from {url}: must be the http:// or https:// URL of a worker's web port")
    try:
        return read_document(fetch(f"{url.rstrip('/')}{STATUS_PATH}?{HISTORY}", timeout, token=token))
    except HTTPError as refused:
        told = "is it a streamapp worker of this version?" if refused.code == 404 else error_of(refused)
        raise WorkerSilent(f"{url}: HTTP {refused.code}: {told}") from refused
    except (URLError, OSError) as failure:
        raise WorkerSilent(f"{url}: no answer: {getattr(failure, 'reason', None) or failure}") from failure
    except (ValueError, msgspec.DecodeError) as unknown:
        raise WorkerSilent(f"{url}: this is no answer of a streamapp worker") from unknown


def told_by(documents: Sequence[StatusDocument], app_id: str) -> dict[Partition, Told]:
    """Return what is known of each partition, by the document that knows most of its past."""
    found: dict[Partition, Told] = {}
    for document in documents:
        if document.app_id != app_id:
            continue
        for status in document.partitions:
            where = Partition(status.topic, status.partition)
            told = _told(document, status)
            if where not in found or len(told.samples) > len(found[where].samples):
                found[where] = told
    return found


def _told(document: StatusDocument, status: PartitionStatus) -> Told:
    p99 = [agent.p99 for agent in document.agents if status.topic in agent.topics and agent.p99 is not None]
    return Told(
        status=status,
        at=document.at,
        samples=tuple(_sample(point) for point in status.history or ()),
        events=tuple(_happening(mark) for mark in status.marks if mark.change in _CHANGES),
        standstills=tuple(_standstill(each) for each in status.standing),
        restore=_restore(document, status),
        handler_p99=max(p99, default=None),
        last_commit=None if status.commit_age is None else document.at - status.commit_age,
    )


def _sample(point: Point) -> Sample:
    is_read = point.lag == 0 and point.position is not None and point.end is not None and point.position >= point.end
    return Sample(
        at=point.at,
        committed=point.committed,
        position=point.position,
        high_watermark=point.high_watermark,
        end=point.end,
        log_start=point.log_start,
        oldest_unread=None if point.age is None else point.at - point.age,
        merged=point.merged,
        unmerged=0 if is_read else None,
        busy=point.busy,
    )


def _happening(mark: Mark) -> Happening:
    return Happening(at=mark.at, change=Change(mark.change), worker=mark.worker, version=mark.version, detail=mark.detail)


def _standstill(standing: Standing) -> Standstill:
    return Standstill(
        kind=cast("StandsFor", standing.kind),
        since=standing.since,
        agent=standing.agent,
        offset=standing.offset,
        attempt=standing.attempt,
        detail=standing.detail,
    )


def _restore(document: StatusDocument, status: PartitionStatus) -> RestoreShown | None:
    """Return the restore that the partition waits for, while it waits for one."""
    if status.state != "restoring":
        return None
    under_way = [each for each in document.tables if each.partition == status.partition and each.state != "running"]
    left = [each.remaining for each in under_way if each.remaining is not None]
    seconds = [each.seconds_left for each in under_way if each.seconds_left is not None]
    return RestoreShown(
        restored=sum(each.restored or 0 for each in under_way),
        remaining=sum(left) if len(left) == len(under_way) else None,
        seconds_left=max(seconds, default=None),
        moving=any((each.rate or 0.0) > 0 for each in under_way),
    )


__all__ = ["Told", "ask", "ask_one_of", "told_by"]
