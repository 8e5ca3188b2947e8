"""The checker: what the topics hold, held against the six points of ORDER_PROCESSOR.md.

Pure: a `History` in, a `Verdict` out. It imports nothing of `streamapp` (a test sees to it), so that no error of the
engine can hide in it. `topic_reader.read_history` makes a History from a broker; `changelog_check` does point 6.
"""

from __future__ import annotations

import gc
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from tests.support.changelog_check import Tables, check_changelogs
from tests.support.dead_letters import Letters
from tests.support.kafka_records import Lanes, Rec, own_headers, partition_of
from tests.support.matching import Claim, Matched, Terms, match
from tests.support.order_rules import HORIZON_MS, Either, Refused, judge_order
from tests.support.verdict import Kind, Verdict

ORDERS, PRICED, DEMAND, TOTALS, DLQ = "orders", "orders-priced", "sku-demand", "sku-totals", "orders-dlq"
TOPICS: Final = (ORDERS, PRICED, DEMAND, TOTALS, DLQ)
ORDER_AGENT, DEMAND_AGENT = "order_processor", "sku_demand"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was read, `read_committed`, offsets first: each topic's records by partition, every partition present."""

    orders: Lanes
    priced: Lanes
    demand: Lanes
    totals: Lanes
    dead_letters: Lanes
    committed: Mapping[tuple[str, int], int]
    """The group's next offset by (topic, partition); absent where nothing was ever committed."""
    watermarks: Mapping[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """(last stable offset, high watermark) by (topic, partition), of every topic of the app."""
    changelogs: Mapping[str, Lanes] = field(default_factory=dict)
    """By table name; empty: point 6 is not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    failing_skus: frozenset[str] = frozenset()
    """Orders of these skus have to be dead-lettered by the agent."""
    tolerated_skus: frozenset[str] = frozenset()
    """Orders of these skus may be, e.g. those that kill their worker."""
    everything_processed: bool = True
    """An order at or above the committed offset is a violation."""


class Priced(NamedTuple):
    order_id: str
    customer: str
    sku: str
    quantity: int
    total_cents: int
    customer_order_count: int
    customer_total_cents: int


class Demand(NamedTuple):
    order_id: str
    sku: str
    quantity: int


class Total(NamedTuple):
    order_id: str
    sku: str
    total_quantity: int


def check(history: History, rules: Rules | None = None) -> Verdict:
    """Hold `history` against points 1 to 5, and 6 where changelogs were read."""
    collecting = gc.isenabled()
    gc.disable()  # millions of small tuples and no cycles: the collector would cost more than the check
    try:
        return _Check(history, rules or Rules()).run()
    finally:
        if collecting:
            gc.enable()


_Output = TypeVar("_Output", Priced, Demand, Total)


class _Check:
    def __init__(self, history: History, rules: Rules) -> None:
        self.history, self.rules = history, rules
        self.verdict = Verdict()
        self.letters = Letters(history.dead_letters, self.verdict)
        self.customer_lanes: dict[str, set[int]] = defaultdict(set)
        self.known_ids: set[str] = set()
        self.marks: dict[tuple[int, str], int] = {}

    def run(self) -> Verdict:
        """Check in this order, since each step knows what the one before allowed.

        1 orders    what has to become of each (point 1), which dead letters are right
        2 priced    is what the orders demand, in their order, with the right sums (points 1, 3, 4)
        3 demand    belongs to the priced orders, one to one (point 2)
        4 totals    belong to the demand, with the right sums (points 2, 3)
        5 rest      dead letters that nobody accounts for, open transactions (point 5)
        6 tables    changelogs against outputs (point 6)
        """
        claims = self._walk_orders()
        priced, by_source = self._check_priced(claims)
        demand = self._check_demand(priced)
        totals = self._check_totals(demand)
        self.letters.unclaimed()
        self._check_watermarks()
        self._count(priced, demand, totals)
        if self.history.changelogs:
            check_changelogs(self.history.changelogs, self._tables(by_source, totals), self.verdict)
        return self.verdict

    # 1 ------------------------------------------------------------------------------------------------------------

    def _walk_orders(self) -> list[Claim]:
        claims: list[Claim] = []
        counts, committed = self.verdict.counts, self.history.committed
        for number, lane in self.history.orders.items():
            end = committed.get((ORDERS, number), 0)
            for rec in lane:
                counts.orders += 1
                due = rec.offset < end
                if not due:
                    counts.unprocessed += 1
                    if self.rules.everything_processed:
                        self.verdict.add(Kind.UNPROCESSED, rec.place)
                claim = self._fate(rec, due=due)
                if claim is not None:
                    claims.append(claim)
        return claims

    def _fate(self, rec: Rec, *, due: bool) -> Claim | None:
        """Return what has to be in `orders-priced` because of `rec`, or None; judge its dead letter."""
        judged = judge_order(rec.value)
        letter = self.letters.claim(rec, ORDER_AGENT)
        if isinstance(judged, Refused):
            if letter is None and due:
                self.verdict.add(Kind.LOST, f"{rec.place} has no dead letter ({judged.why})")
            return None
        order = judged.order if isinstance(judged, Either) else judged
        self.customer_lanes[order.customer].add(rec.partition)
        self.known_ids.add(order.order_id)
        if isinstance(judged, Either) and letter is not None:
            return None
        mark = self.marks.get((rec.partition, order.order_id))
        if mark is not None and rec.timestamp - mark < HORIZON_MS:
            if letter is not None:
                self.verdict.add(Kind.WRONGLY_DEAD_LETTERED, f"{rec.place} repeats {order.order_id!r}, to be dropped")
            elif due:
                self.verdict.counts.duplicates += 1
            return None
        if letter is not None:
            may = order.sku in self.rules.failing_skus or order.sku in self.rules.tolerated_skus
            if not may or letter.stage in {"decode", "validate"}:
                self.verdict.add(Kind.WRONGLY_DEAD_LETTERED, f"{rec.place} is an order (stage {letter.stage})")
            return None
        if order.sku in self.rules.failing_skus:
            if due:
                self.verdict.add(Kind.LOST, f"{rec.place}: the agent raises on {order.sku!r}, but no dead letter")
            return None
        self.marks[rec.partition, order.order_id] = rec.timestamp
        content = (order.customer, order.sku, order.quantity, order.quantity * order.unit_price_cents)
        return Claim(order.order_id, content, rec.timestamp, own_headers(rec.headers), rec, due)

    # 2 ------------------------------------------------------------------------------------------------------------

    def _check_priced(self, claims: list[Claim]) -> tuple[list[tuple[Rec, Priced]], list[Matched]]:
        parsed = self._parse(PRICED, self.history.priced, Priced, lambda out: out.customer)
        found = [Matched(rec, out.order_id, out[1:5], own_headers(rec.headers)) for rec, out in parsed]
        match(claims, found, Terms("order", Kind.LOST, Kind.INVENTED, frozenset(self.known_ids)), self.verdict)
        self._check_order(found, key=lambda matched: str(matched.content[0]))
        self._check_sums(
            ((rec, out.customer, 1, out.total_cents, out.customer_order_count, out.customer_total_cents) for rec, out in parsed),
            skip=frozenset(customer for customer, lanes in self.customer_lanes.items() if len(lanes) > 1),
        )
        return parsed, found

    def _check_order(self, found: Iterable[Matched], key: Callable[[Matched], str]) -> None:
        """Point 4: per key and source partition, outputs come in the order of their sources."""
        last: dict[tuple[str, int], int] = {}
        for matched in found:
            source = matched.source
            if source is None or matched.ambiguous:
                continue
            of = (key(matched), source.partition)
            if source.offset < last.get(of, -1):
                self.verdict.add(Kind.MISORDERED, f"{matched.rec.place} ({of[0]!r}) comes of {source.place}, behind {last[of]}")
            last[of] = max(source.offset, last.get(of, -1))

    def _check_sums(self, rows: Iterable[tuple[Rec, str, int, int, int, int]], skip: frozenset[str] = frozenset()) -> None:
        """Point 3: rows of (record, key, count step, sum step, count shown, sum shown), in the topic's order."""
        running: dict[str, tuple[int, int]] = {}
        for rec, key, one, step, count, total in rows:
            if key in skip:
                continue
            before = running.get(key, (0, 0))
            due = (before[0] + one, before[1] + step)
            if (count, total) != due:
                self.verdict.add(
                    Kind.MISSUMMED, f"{rec.place} ({key!r}) says {count} and {total}, recomputed {due[0]} and {due[1]}"
                )
            running[key] = (count, total)  # go on from what it says: one error is one violation

    # 3 and 4 ------------------------------------------------------------------------------------------------------

    def _check_demand(self, priced: list[tuple[Rec, Priced]]) -> list[tuple[Rec, Demand]]:
        parsed = self._parse(DEMAND, self.history.demand, Demand, lambda out: out.sku, buried_by=DEMAND_AGENT)
        claims = [
            Claim(out.order_id, (out.sku, out.quantity), rec.timestamp, own_headers(rec.headers), rec, due=True)
            for rec, out in priced
        ]
        found = [Matched(rec, out.order_id, (out.sku, out.quantity), own_headers(rec.headers)) for rec, out in parsed]
        ids = frozenset(out.order_id for _, out in priced)
        match(claims, found, Terms("demand of", Kind.TORN, Kind.TORN, ids), self.verdict)
        return parsed

    def _check_totals(self, demand: list[tuple[Rec, Demand]]) -> list[tuple[Rec, Total, int]]:
        parsed = self._parse(TOTALS, self.history.totals, Total, lambda out: out.sku)
        claims: list[Claim] = []
        quantities: dict[tuple[str, str], list[int]] = defaultdict(list)
        for rec, out in demand:
            letter = self.letters.claim(rec, DEMAND_AGENT)
            if letter is not None:
                if out.sku not in self.rules.tolerated_skus or letter.stage in {"decode", "validate"}:
                    self.verdict.add(Kind.WRONGLY_DEAD_LETTERED, f"{rec.place} is a demand (stage {letter.stage})")
                continue
            due = rec.offset < self.history.committed.get((DEMAND, rec.partition), 0)
            if not due and self.rules.everything_processed:
                self.verdict.add(Kind.UNPROCESSED, rec.place)
            claims.append(Claim(out.order_id, (out.sku,), rec.timestamp, own_headers(rec.headers), rec, due))
            quantities[out.order_id, out.sku].append(out.quantity)
        found = [Matched(rec, out.order_id, (out.sku,), own_headers(rec.headers)) for rec, out in parsed]
        ids = frozenset(claim.order_id for claim in claims)
        match(claims, found, Terms("total of", Kind.TORN, Kind.TORN, ids), self.verdict)
        self._check_order(found, key=lambda matched: str(matched.content[0]))
        rows = [
            (rec, out, _quantity(matched.source, quantities[out.order_id, out.sku]))
            for (rec, out), matched in zip(parsed, found, strict=True)
        ]
        self._check_sums((rec, out.sku, 0, quantity, 0, out.total_quantity) for rec, out, quantity in rows)
        return rows

    # shared -------------------------------------------------------------------------------------------------------

    def _parse(
        self,
        topic: str,
        lanes: Lanes,
        shape: type[_Output],
        key: Callable[[_Output], str],
        buried_by: str | None = None,
    ) -> list[tuple[Rec, _Output]]:
        """Return the topic's records as `shape`, in order; report what is none, or has a wrong key or place."""
        out: list[tuple[Rec, _Output]] = []
        places: dict[bytes, int] = {}
        for number, lane in lanes.items():
            for rec in lane:
                output = _read(shape, rec.value)
                if output is None:
                    # Foreign records in an inner topic are that agent's to bury; ours may not look so.
                    if buried_by is None or self.letters.claim(rec, buried_by) is None:
                        self.verdict.add(Kind.WRONG_FIELDS, f"{rec.place}: {rec.value!r:.120}")
                    continue
                right = key(output).encode("utf-8", "surrogatepass")
                if rec.key != right:
                    self.verdict.add(Kind.WRONG_KEY, f"{rec.place} has {rec.key!r}, not {right!r}")
                elif places.setdefault(right, partition_of(right, len(lanes))) != number:
                    self.verdict.add(Kind.WRONG_PARTITION, f"{rec.place} ({right!r}) belongs into {topic}/{places[right]}")
                out.append((rec, output))
        return out

    def _check_watermarks(self) -> None:
        for (topic, number), (stable, high) in self.history.watermarks.items():
            if stable < high:
                self.verdict.add(Kind.OPEN_TRANSACTION, f"{topic}/{number}: stable up to {stable} of {high}")

    def _count(
        self, priced: list[tuple[Rec, Priced]], demand: list[tuple[Rec, Demand]], totals: list[tuple[Rec, Total, int]]
    ) -> None:
        counts = self.verdict.counts
        counts.priced, counts.demands, counts.totals = len(priced), len(demand), len(totals)
        counts.dead_letters, counts.dead_letters_by_error = self.letters.count, self.letters.by_error
        orders: Counter[str] = Counter()
        cents: Counter[str] = Counter()
        for _, out in priced:
            orders[out.customer] += 1
            cents[out.customer] += out.total_cents
        skus: Counter[str] = Counter()
        for _, wanted in demand:
            skus[wanted.sku] += wanted.quantity
        counts.top_customers = [(customer, orders[customer], total) for customer, total in cents.most_common(10)]
        counts.top_skus = skus.most_common(10)

    def _tables(self, priced: list[Matched], totals: list[tuple[Rec, Total, int]]) -> Tables:
        customers: dict[tuple[int, str], tuple[int, int]] = {}
        marks: dict[tuple[int, str], int] = {}
        latest: dict[tuple[int, str], int] = {}
        for matched in priced:
            source = matched.source
            if source is None:
                continue
            customer, _, _, cents = matched.content
            count, total = customers.get((source.partition, str(customer)), (0, 0))
            customers[source.partition, str(customer)] = (count + 1, total + int(cents))
            # An id may be priced again after the horizon: the later record made the mark that counts.
            if source.offset >= latest.get((source.partition, matched.order_id), -1):
                latest[source.partition, matched.order_id] = source.offset
                marks[source.partition, matched.order_id] = source.timestamp
        skus: dict[tuple[int, str], int] = {}
        places = {rec.key: rec.partition for lane in self.history.demand.values() for rec in lane}
        for rec, out, quantity in totals:
            at = (places.get(rec.key, rec.partition), out.sku)
            skus[at] = skus.get(at, 0) + quantity
        return Tables(customers, skus, marks)


def _quantity(source: Rec | None, candidates: list[int]) -> int:
    """Return the quantity that a total's demand asked for; the first of that id when it has no demand."""
    if len(candidates) != 1 and source is not None:
        demand = _read(Demand, source.value)
        if demand is not None:
            return demand.quantity
    return candidates[0] if candidates else 0


_TYPES: Final = {"order_id": str, "customer": str, "sku": str}


def _read(shape: type[_Output], value: bytes | None) -> _Output | None:
    """Return `value` as `shape`, or None when it is not a JSON object with exactly those fields, rightly typed."""
    try:
        document = json.loads(value.decode("utf-8")) if value is not None else None
    except ValueError:
        return None
    names = shape._fields
    if type(document) is not dict or len(document) != len(names):
        return None
    for name in names:
        if type(document.get(name)) is not _TYPES.get(name, int):
            return None
    return shape(**document)
