"""Pairs what has to be in a topic with what is there, by order id, and names what does not fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tests.support.kafka_records import Headers, Rec
from tests.support.verdict import Kind, Verdict

Content: TypeAlias = "tuple[str | int, ...]"


@dataclass(slots=True)
class Claim:
    """What has to be there because of `source`; `due` False: may be there, since its offset is not committed yet."""

    order_id: str
    content: Content
    timestamp: int
    headers: Headers
    source: Rec
    due: bool


@dataclass(slots=True)
class Matched:
    """What is there, and once matched the record that caused it."""

    rec: Rec
    order_id: str
    content: Content
    headers: Headers
    source: Rec | None = None
    ambiguous: bool = False
    """Several sources fit equally, so its place in their order says nothing."""

    def fits(self, claim: Claim) -> bool:
        return self.content == claim.content and self.rec.timestamp == claim.timestamp and self.headers == claim.headers


@dataclass(frozen=True, slots=True)
class Terms:
    noun: str
    missing: Kind
    unfounded: Kind
    """Kind of an output whose order id has no cause at all; one too many of a known id is DOUBLED."""
    known_ids: frozenset[str]


def match(claims: Sequence[Claim], found: Sequence[Matched], terms: Terms, verdict: Verdict) -> None:
    """Pair as multisets; set `source` in each of `found` that has a cause; report the rest."""
    wanted: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        wanted[claim.order_id].append(claim)
    there: dict[str, list[Matched]] = defaultdict(list)
    for matched in found:
        there[matched.order_id].append(matched)
    for order_id, group in wanted.items():
        _pair(group, there.pop(order_id, []), terms, verdict)
    for order_id, orphans in there.items():
        kind = Kind.DOUBLED if order_id in terms.known_ids else terms.unfounded
        for orphan in orphans:
            verdict.add(kind, f"{orphan.rec.place} ({order_id!r}) has no cause ({terms.noun})")


def _pair(claims: list[Claim], found: list[Matched], terms: Terms, verdict: Verdict) -> None:
    if len(claims) == 1 == len(found) and found[0].fits(claims[0]):  # nearly always
        found[0].source = claims[0].source
        return
    claims, found = _pair_exact(claims, found)
    claims, found = _pair_alike(claims, found, verdict)
    for claim in claims[:]:
        if found:
            odd = found.pop(0)
            odd.source = claim.source
            claims.remove(claim)
            verdict.add(Kind.WRONG_CONTENT, f"{odd.rec.place}: {odd.content}, of {claim.source.place}: {claim.content}")
    for claim in claims:
        if claim.due:
            verdict.add(terms.missing, f"no {terms.noun} {claim.order_id!r} of {claim.source.place}")
    for extra in found:
        verdict.add(Kind.DOUBLED, f"{extra.rec.place} ({extra.order_id!r}) is one too many ({terms.noun})")


def _pair_exact(claims: list[Claim], found: list[Matched]) -> tuple[list[Claim], list[Matched]]:
    left: list[Matched] = []
    every = claims
    claims = sorted(claims, key=lambda claim: not claim.due)  # those that must be there first
    for matched in found:
        fitting = [claim for claim in claims if matched.fits(claim)]
        if not fitting:
            left.append(matched)
            continue
        matched.source = fitting[0].source
        matched.ambiguous = sum(map(matched.fits, every)) > 1
        claims.remove(fitting[0])
    return claims, left


def _pair_alike(claims: list[Claim], found: list[Matched], verdict: Verdict) -> tuple[list[Claim], list[Matched]]:
    """Pair what has the same content, and report the difference in timestamp or headers."""
    left: list[Matched] = []
    for matched in found:
        alike = next((claim for claim in claims if claim.content == matched.content), None)
        if alike is None:
            left.append(matched)
            continue
        claims.remove(alike)
        matched.source = alike.source
        if matched.rec.timestamp != alike.timestamp:
            verdict.add(Kind.WRONG_TIMESTAMP, f"{matched.rec.place} has {matched.rec.timestamp}, its source {alike.timestamp}")
        if matched.headers != alike.headers:
            verdict.add(Kind.HEADERS_CHANGED, f"{matched.rec.place} has {matched.headers}, its source {alike.headers}")
    return claims, left
