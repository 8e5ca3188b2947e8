"""Open transactions: which partitions they hold up, whose they are, and from when on they count as hanging."""

from __future__ import annotations

from dataclasses import dataclass

from streamapp.kafka.transactions import CLEAN_UP, ENDED
from streamapp.verify.rows import TransactionRow, Verdict, WatchedPartition, Watermarks
from streamapp.worker.topology import CHANGELOG


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTransaction:
    """What a broker tells of a producer that holds up a partition; None = it does not."""

    producer_id: int | None = None
    producer_epoch: int | None = None
    transactional_id: str | None = None
    state: str | None = None
    age: float | None = None
    timeout: float | None = None
    """Its own transaction timeout."""


def judge(
    watched: WatchedPartition,
    ends: Watermarks,
    owner: OpenTransaction | None,
    *,
    app_id: str,
    timeout: float,
    hangs_after: float | None,
) -> TransactionRow:
    """Return the row of a partition that is held up, at `ends.stable`, by `owner` where that is known.

    `timeout`: the app's transaction timeout, which counts where the producer's own is not told. `hangs_after` overrides both.
    """
    told = owner or OpenTransaction()
    limit = (timeout if told.timeout is None else told.timeout) + CLEAN_UP if hangs_after is None else hangs_after
    verdict, status, detail = _verdict(watched, owner, limit, app_id)
    return TransactionRow(
        verdict=verdict,
        status=status,
        detail=detail,
        topic=watched.partition.topic,
        partition=watched.partition.number,
        role=watched.role,
        stuck_at=ends.stable,
        high_watermark=ends.high,
        records_behind=ends.high - ends.stable,
        producer_id=told.producer_id,
        producer_epoch=told.producer_epoch,
        transactional_id=told.transactional_id,
        state=told.state,
        age=told.age,
        hangs_after=limit,
    )


def _verdict(
    watched: WatchedPartition, owner: OpenTransaction | None, limit: float, app_id: str
) -> tuple[Verdict, str, str | None]:
    if owner is None:
        return Verdict.NOTE, "open", f"the broker does not tell whose it is; it hangs if it is still there in {limit:g} s"
    if owner.state in ENDED:
        end = f"streamapp transactions abort --topic {watched.partition.topic} --partition {watched.partition.number} --hanging"
        return Verdict.FINDING, "hanging", f"its coordinator calls it {owner.state}, so nobody will end it: {end}"
    if owner.age is not None and owner.age >= limit:
        return Verdict.FINDING, "hanging", f"open for {owner.age:.0f} s; the broker should have ended it after {limit:g} s"
    foreign = owner.transactional_id is not None and not owner.transactional_id.startswith(f"{app_id}-")
    if foreign and watched.role == CHANGELOG:
        return (
            Verdict.FINDING,
            "foreign",
            "a changelog is the app's alone: a restore waits for this transaction, and reads what it wrote",
        )
    return Verdict.NOTE, "open", None


__all__ = ["ENDED", "OpenTransaction", "judge"]
