"""What a replay would do, in words: label and sentence, a line each; and the same as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from streamapp.dlq.filters import short
from streamapp.dlq.guards import REPLAYS, since
from streamapp.dlq.job import Pace
from streamapp.dlq.plan import Plan
from streamapp.dlq.subject import Subject
from streamapp.figures import duration

FIRST_IDS = 5
"""Ids that a preview names."""


def place_of(letter_id: str) -> str:
    return letter_id.rpartition("@")[0]


def lines(plan: Plan, subject: Subject, pace: Pace, *, change: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield what the preview says."""
    many = len(plan.matched)
    scope = f"{many} of {plan.unresolved} unresolved" if plan.unresolved >= many else f"{many} letters"
    yield "scope", f"{scope}, up to the end of {plan.dlq} at {plan.at:%H:%M:%SZ}"
    yield "target", _target(plan, subject)
    if plan.others:
        groups = "; ".join(f"{each.topic}: {each}" for each in plan.others)
        yield "also reads", f"{groups} would see these records again; --execute needs --to source or --to topic:NAME"
    if plan.expired:
        yield (
            "retention",
            f"{plan.expired} are older than their topic keeps records: the broker may delete the copies before they are read",
        )
    yield "errors", _errors(plan)
    if plan.target.topic is None:
        yield "order", _order(plan)
        yield "dedupe", _dedupe(plan, subject)
    if change is not None:
        changed = sum(content.is_changed for content in plan.contents.values())
        yield (
            "change",
            f"{change}: {changed} changed, {len(plan.contents) - changed} as they were, {len(plan.left)} left where they are",
        )
    for letter_id, why in list(plan.refused.items())[:FIRST_IDS]:
        yield "refused", f"{place_of(letter_id)}: {why}"
    if len(plan.refused) > FIRST_IDS:
        yield "refused", f"{len(plan.refused) - FIRST_IDS} more"
    yield "guards", _guards(plan, pace)


def _target(plan: Plan, subject: Subject) -> str:
    if plan.target.topic is not None:
        return f"{plan.target.topic}, same partition mod {plan.target.partitions}; resolved as copied, as nobody reports back"
    return f"{', '.join(plan.topics)}, same partition and key; handled by {', '.join(plan.agents)} in group {subject.app_id}"


def _errors(plan: Plan) -> str:
    kinds = Counter((short(letter.facts.exception_type), letter.facts.stage) for letter in plan.matched)
    told = ", ".join(f"{count} {error} ({stage})" for (error, stage), count in kinds.most_common(FIRST_IDS))
    # By their places: the order in which they failed is another in each run.
    first = sorted(plan.matched, key=lambda letter: letter.facts.source)[:FIRST_IDS]
    return f"{told}; first ids {' '.join(place_of(letter.id) for letter in first)}"


def _order(plan: Plan) -> str:
    if not plan.is_order_checked:
        return "not checked: --stale-ok"
    told = []
    if plan.superseded:
        told.append(f"{len(plan.superseded)} superseded by a later record of their key: discarded")
    if stale := sum(letter.id in plan.stale for letter in plan.send):
        told.append(f"{stale} stale: a later record of the key was processed; needs --stale-ok or --latest-per-key")
    if unchecked := sum(letter.id in plan.unchecked for letter in plan.send):
        told.append(f"{unchecked} not checked, too much was written since: treated as stale; needs --stale-ok")
    return "; ".join(told) or "no later record of their keys"


def _dedupe(plan: Plan, subject: Subject) -> str:
    if not plan.send:
        return "-"
    told = [f"oldest {duration(plan.at.timestamp() - min(since(letter) for letter in plan.send))}"]
    for agent in plan.agents:
        spec, horizon = subject.agents.get(agent), subject.horizons.get(agent)
        if spec is None or spec.dedupe is None or horizon is None:
            told.append(f"{agent} has no dedupe")
        else:
            told.append(f"{spec.dedupe.table} keeps {duration(horizon)}")
    covered = f"dedupe no longer covers {plan.uncovered} records" if plan.uncovered else "covered"
    return f"{', '.join(told)}: {covered}"


def _guards(plan: Plan, pace: Pace) -> str:
    told = [f"{sum(letter.replays > 0 for letter in plan.matched)} replayed before, limit {REPLAYS}"]
    if plan.sorted.parked:
        told.append(f"{len(plan.sorted.parked)} parked: need --force")
    if plan.sorted.under_way:
        told.append(f"{len(plan.sorted.under_way)} sent already and not answered: left out without --force")
    if plan.sorted.settled:
        told.append(f"{len(plan.sorted.settled)} settled: left out without --force or --force-reprocess")
    if pace.rate is None:
        told.append("no pace")
    else:
        seconds = max(0, len(plan.send) - pace.batch) / pace.rate
        told.append(f"pace {pace.rate:g}/s: {'under 1 s' if seconds < 1 else 'about ' + duration(seconds)}")
    return "; ".join(told)


def document(plan: Plan) -> dict[str, object]:
    """Return the plan for machines."""
    return {
        "kind": "preview",
        "dlq": plan.dlq,
        "at": plan.at.isoformat().replace("+00:00", "Z"),
        "target": str(plan.target),
        "topics": list(plan.topics),
        "ends": {str(where.number): end for where, end in sorted(plan.ends.items())},
        "unresolved": plan.unresolved,
        "matched": len(plan.matched),
        "send": len(plan.send),
        "stale": sorted(plan.stale),
        "unchecked": len(plan.unchecked),
        "superseded": len(plan.superseded),
        "parked": len(plan.sorted.parked),
        "under_way": len(plan.sorted.under_way),
        "settled": len(plan.sorted.settled),
        "left": len(plan.left),
        "refused": dict(plan.refused),
        "other_groups": [{"topic": each.topic, "group": each.group, "lag": each.lag} for each in plan.others],
        "older_than_retention": plan.expired,
        "not_covered_by_dedupe": plan.uncovered,
    }


__all__ = ["document", "duration", "lines", "place_of"]
