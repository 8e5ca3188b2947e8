"""What each kind of cell shows, by name. `page.js` has the same kinds: it fills the cells anew from the next status document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from streamapp.monitor.page import figures
from streamapp.monitor.page.markup import Child, Markup, tag, text

Row = Mapping[str, Any]
"""A part of the status document, as its JSON has it."""

STATUSES: Final = ("DATA_LOST", "AT_RISK", "STALLED", "CLIFF", "UNKNOWN", "FALLING_BEHIND", "CATCHING_UP", "OK")
LEVELS: Final = ("error", "warning", "information", "unchecked")
QUIET: Final = ("OK", "CATCHING_UP")
"""Statuses whose sentence the table leaves out: the figures beside it say the same."""


class Cell(NamedTuple):
    """What stands in a cell, and its class."""

    content: Child
    css: str = ""


def badge(status: str) -> Markup:
    """Return a status as word, colour and shape."""
    known = status if status in STATUSES else "UNKNOWN"
    return tag("b", word(status), class_=f"s-{known}")


def word(status: str) -> str:
    return status if status == "OK" else (status[:1].upper() + status[1:].lower()).replace("_", " ")


def level_badge(level: str) -> Markup:
    known = level if level in LEVELS else "unchecked"
    return tag("b", word(level), class_=f"l-{known}")


def copyable(command: str) -> Markup:
    """Return a command; the script puts a button beside each `code` of the page."""
    return tag("code", command)


def place(dead_letter: str) -> str:
    """Return `topic/partition/offset`, as the commands take it, of a dead letter's id in either form."""
    name = dead_letter.split("@", maxsplit=1)[0]
    return name if "/" in name else "/".join(name.rsplit("-", 2))


# --- kinds


def _text(value: Any, row: Row, now: float) -> Cell:
    return Cell(figures.NOTHING if value in (None, "") else str(value))


def _figure(write: Callable[[Any], str]) -> Callable[[Any, Row, float], Cell]:
    return lambda value, row, now: Cell(write(value))


def _ago(value: Any, row: Row, now: float) -> Cell:
    return Cell(figures.ago(value, now))


def _moment(value: Any, row: Row, now: float) -> Cell:
    return Cell(figures.moment(value))


def _status(value: Any, row: Row, now: float) -> Cell:
    if value in QUIET:
        return Cell(badge(value))
    parts: list[Child] = [badge(value), tag("p", row["sentence"])]
    if row.get("fix"):
        parts.append(copyable(row["fix"]))
    return Cell(parts)


def _group(value: Any, row: Row, now: float) -> Cell:
    return Cell(badge(value))


def _level(value: Any, row: Row, now: float) -> Cell:
    return Cell(level_badge(value))


def _partition(value: Any, row: Row, now: float) -> Cell:
    return Cell(f"{row['topic']}/{row['partition']}")


def _owner(value: Any, row: Row, now: float) -> Cell:
    if value is not None:
        return Cell(value)
    return Cell("nobody", "bad") if row["owner_known"] else Cell(figures.NOTHING)


def _growth(value: Any, row: Row, now: float) -> Cell:
    if value is None:
        return Cell(figures.NOTHING)
    return Cell([f"{_signed(value['estimate'])}/s", _between(value, figures.number)])


def _drain(value: Any, row: Row, now: float) -> Cell:
    if value is None:
        return Cell(figures.NOTHING)
    return Cell([figures.duration(value["estimate"]), _between(value, figures.duration)])


def _between(bounds: Row, write: Callable[[float | None], str]) -> Child:
    low, high = write(bounds["low"]), write(bounds["high"])
    return None if low == high else tag("small", f" ({low}…{high})")


def _signed(value: float) -> str:
    told = figures.number(value)
    return f"+{told}" if value > 0 and told not in ("0", figures.NOTHING) else told


def _table(value: Any, row: Row, now: float) -> Cell:
    return Cell(f"{value}/{row['partition']}")


def _flux(value: Any, row: Row, now: float) -> Cell:
    """Return what comes in and what goes out."""
    return Cell(f"{figures.rate(value)} → {figures.rate(row['consumed_rate'])}")


def _calls(value: Any, row: Row, now: float) -> Cell:
    """Return how long calls take."""
    return Cell(", ".join(map(figures.latency, (value, row["p95"], row["p99"]))))


def _loss(value: Any, row: Row, now: float) -> Cell:
    if row["loss_never"]:
        return Cell("never")
    if value is None:
        return Cell(figures.NOTHING)
    by = row["loss_by"]
    return Cell([figures.duration(value), tag("small", f" by {by}") if by else None])


def _lag(value: Any, row: Row, now: float) -> Cell:
    blocked = row["blocked"]
    return Cell([figures.count(value), tag("small", f" +{figures.count(blocked)} blocked") if blocked else None])


def _pairs(value: Any, row: Row, now: float) -> Cell:
    told = ", ".join(f"{name} {figures.count(number)}" for name, number in sorted(value.items()))
    return Cell(told or figures.NOTHING)


def _total(value: Any, row: Row, now: float) -> Cell:
    return Cell(figures.count(sum(value.values())))


def _list(value: Any, row: Row, now: float) -> Cell:
    return Cell(", ".join(value) or figures.NOTHING)


def _flow(value: Any, row: Row, now: float) -> Cell:
    dlq = row["dlq"]
    parts: list[Child] = [", ".join(row["topics"]), " → ", tag("b", value)]
    if dlq:
        parts += [" → ", dlq]
    return Cell(parts)


def _letter_counts(value: Any, row: Row, now: float) -> Cell:
    if not value:
        return Cell("0")
    kinds = sorted(value, key=lambda each: (-each["count"], each["error_type"], each["reason"]))
    told = ", ".join(f"{each['error_type']} {figures.count(each['count'])} {each['reason']}" for each in kinds[:3])
    more = len(kinds) - 3
    return Cell([told, f" and {more} more" if more > 0 else None])


def _breakers(value: Any, row: Row, now: float) -> Cell:
    if not value:
        return Cell("closed")
    return Cell("; ".join(_since(each, now) for each in value), "bad")


def _since(standing: Row, now: float) -> str:
    told = f"open for {figures.duration(now - standing['since'])}"
    return f"{told}: {standing['detail']}" if standing["detail"] else told


def _held(value: Any, row: Row, now: float) -> Cell:
    keys, records = sum(row["blocked_keys"].values()), sum(row["held_records"].values())
    return Cell(f"{figures.count(keys)} keys, {figures.count(records)} records" if keys or records else figures.NOTHING)


def _restore(value: Any, row: Row, now: float) -> Cell:
    """Return how far a restore is."""
    restored, remaining = row["restored"], row["remaining"]
    parts: list[Child] = [word(value)]
    if restored is not None and remaining is not None and restored + remaining > 0 and remaining:
        done = figures.share(restored / (restored + remaining))
        parts.append(f", {done}, {figures.count(remaining)} to go")
        if row["rate"] is not None:
            parts.append(f" at {figures.rate(row['rate'])}")
        if row["seconds_left"] is not None:
            parts.append(f", {figures.duration(row['seconds_left'])} left")
    if row["waiting"] is not None:
        parts.append(f", waiting {figures.duration(row['waiting'])} for an open transaction")
    if row["trouble"]:
        parts.append(f": {row['trouble']}")
    return Cell(parts, "bad" if row["trouble"] else "")


def _unresolved(value: Any, row: Row, now: float) -> Cell:
    return Cell(f"{figures.count(value)}{' or more' if row['lower_bound'] else ''}")


def _yes(value: Any, row: Row, now: float) -> Cell:
    return Cell("yes") if value else Cell("no", "bad")


def _letters(value: Any, row: Row, now: float) -> Cell:
    """Return a kind of failure's newest records, each with the command that shows it, whose last line is the one that replays it."""
    fingerprint = row["fingerprint"]
    ids = [place(each) for each in value]
    shown = tag("li", copyable(f"streamapp dlq list --fingerprint {fingerprint}"))
    records = [tag("li", tag("details", tag("summary", each), copyable(f"streamapp dlq show {each}"))) for each in ids]
    return Cell(tag("details", tag("summary", f"{figures.count(len(ids))} newest"), tag("ul", shown, records)))


def _command(value: Any, row: Row, now: float) -> Cell:
    return Cell(copyable(value) if value else figures.NOTHING)


def _ready(value: Any, row: Row, now: float) -> Cell:
    if row["draining"]:
        return Cell("draining", "bad")
    return Cell("ready") if value else Cell(f"not ready: {row['failing'] or 'starting'}", "bad")


def _workers(value: Any, row: Row, now: float) -> Cell:
    needed = row["workers_needed"]
    told = [figures.count(row["partitions"]), " partitions, ", figures.count(row["workers"]), " workers"]
    if needed is not None:
        told.append(f", {figures.count(needed)} needed{' and no more can help' if row['workers_capped'] else ''}")
    return Cell(told)


def _whose(value: Any, row: Row, now: float) -> Cell:
    """Return whose partitions a document has."""
    peers, silent = row["peers"], row["unreachable"]
    told = "This worker only: with web_peers, the others' partitions are here, too."
    if not value:
        told = f"With the partitions of {figures.count(len(peers))} other workers: {', '.join(peers)}."
    return Cell([told, tag("strong", f" No answer from {', '.join(silent)}.") if silent else None])


KINDS: Final[Mapping[str, Callable[[Any, Row, float], Cell]]] = {
    "text": _text,
    "count": _figure(figures.count),
    "duration": _figure(figures.duration),
    "latency": _figure(figures.latency),
    "rate": _figure(figures.rate),
    "share": _figure(figures.share),
    "size": _figure(figures.size),
    "ago": _ago,
    "moment": _moment,
    "status": _status,
    "group": _group,
    "level": _level,
    "partition": _partition,
    "owner": _owner,
    "growth": _growth,
    "drain": _drain,
    "loss": _loss,
    "lag": _lag,
    "flux": _flux,
    "calls": _calls,
    "table": _table,
    "pairs": _pairs,
    "total": _total,
    "list": _list,
    "flow": _flow,
    "dead": _letter_counts,
    "breakers": _breakers,
    "held": _held,
    "restore": _restore,
    "unresolved": _unresolved,
    "yes": _yes,
    "letters": _letters,
    "command": _command,
    "ready": _ready,
    "workers": _workers,
    "whose": _whose,
}


def cell(kind: str, field: str, row: Row, now: float) -> Cell:
    """Return the cell of `kind` for a row's field."""
    return KINDS[kind](row[field], row, now)


__all__ = [
    "KINDS", "LEVELS", "QUIET", "STATUSES", "Cell", "Row", "badge", "cell", "copyable", "level_badge", "place", "text", "word",
]  # fmt: skip
