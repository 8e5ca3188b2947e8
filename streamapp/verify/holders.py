"""Whose open transactions hold partitions up, at the moment of asking."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamapp.kafka.inspector import Inspector, Layout
from streamapp.kafka.transactions import CoordinatedTransaction, OpenProducer
from streamapp.records import Partition
from streamapp.verify.transactions import ENDED, OpenTransaction


@dataclass(frozen=True, slots=True)
class Holders:
    found: dict[Partition, OpenTransaction]
    """Absent: the broker does not tell."""
    ended: set[Partition]
    """Their transactions have ended meanwhile."""


def holders(inspector: Inspector, layout: Layout, stuck: Mapping[Partition, int]) -> Holders:
    """Return who holds the partitions of `stuck` at these last stable offsets."""
    producers = _holding(inspector.owners(layout, stuck), stuck)
    told = inspector.transactions(layout, {each.producer_id for each in producers.values()}) if producers else {}
    holding = Holders({}, set())
    # A coordinator that calls it over may have ended it since the partition was asked: asked again, the partition decides.
    over = {where for where, each in producers.items() if (known := told.get(each.producer_id)) and known.state in ENDED}
    again = _holding(inspector.owners(layout, over), stuck) if over else {}
    for where, producer in producers.items():
        if where in over and again.get(where) != producer:
            holding.ended.add(where)
            continue
        holding.found[where] = _described(producer, told.get(producer.producer_id))
    return holding


def _holding(
    producers: Mapping[Partition, Sequence[OpenProducer]], stuck: Mapping[Partition, int]
) -> dict[Partition, OpenProducer]:
    """Return, per partition, the producer whose transaction begins where the partition is stuck."""
    found = {}
    for where, open_ones in producers.items():
        holder = next((each for each in open_ones if each.start == stuck[where]), None)
        if holder is not None:
            found[where] = holder
    return found


def _described(producer: OpenProducer, told: CoordinatedTransaction | None) -> OpenTransaction:
    began_ms = told.start_ms if told is not None and told.start_ms > 0 else producer.last_timestamp_ms
    return OpenTransaction(
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        transactional_id=told.transactional_id if told is not None else None,
        state=told.state if told is not None else None,
        age=max(0.0, time.time() - began_ms / 1000) if began_ms > 0 else None,  # clocks apart must not make it negative
        timeout=told.timeout_ms / 1000 if told is not None else None,
    )


__all__ = ["Holders", "holders"]
