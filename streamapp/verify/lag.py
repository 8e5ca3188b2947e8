"""Lag in positions, as a read_committed reader sees it: commit markers and aborted records are no work."""

from __future__ import annotations

from streamapp.records import Partition
from streamapp.verify.rows import LagRow, Verdict, Watermarks
from streamapp.verify.unread import Unread


def lag_of(partition: Partition, ends: Watermarks, committed: int | None, unread: Unread | None, *, allowed: int) -> LagRow:
    """Return the row of a source partition. `unread`: None where nobody had to look, or nobody could.

    A lag of more than `allowed` records is a finding.
    """

    def row(verdict: Verdict, status: str, lag: int | None, detail: str | None = None, *, exact: bool = True) -> LagRow:
        return LagRow(
            verdict=verdict,
            status=status,
            detail=detail,
            topic=partition.topic,
            partition=partition.number,
            committed=committed,
            end=ends.stable,
            lag=lag,
            exact=exact,
        )

    if committed is not None and committed > ends.high:
        return row(
            Verdict.FINDING, "beyond the end", None,
            f"the group's offset lies beyond the log's end {ends.high}: was the topic made anew? The worker stops this partition",
            exact=False,
        )  # fmt: skip
    if committed is not None and committed < ends.start:
        lost = ends.start - committed
        return row(
            Verdict.FINDING, "deleted unread", ends.stable - ends.start,
            f"the log begins at {ends.start}: up to {lost} records were deleted before they were read", exact=False,
        )  # fmt: skip
    lag, exact = _count(ends, ends.start if committed is None else committed, unread)
    if lag <= 0:
        return row(Verdict.OK, "done" if committed is not None else "empty", 0)
    verdict = Verdict.FINDING if lag > allowed else Verdict.OK
    if committed is None:
        return row(verdict, "never read", lag, "the group has committed nothing here", exact=exact)
    return row(verdict, "behind", lag, exact=exact)


def _count(ends: Watermarks, position: int, unread: Unread | None) -> tuple[int, bool]:
    positions = ends.stable - position
    if positions <= 0 or unread is None:
        return positions, positions <= 0
    if unread.to_end:
        return unread.records, True
    # Markers in front of the first record are known to be none.
    return ends.stable - (position if unread.first is None else unread.first), False


__all__ = ["lag_of"]
