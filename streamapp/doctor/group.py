"""G01 to G11: the workers of the group, who they are, and whether they can stay in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from streamapp.doctor.check import Check, error, information, unchecked, warning
from streamapp.doctor.facts import DAY, CouldNotCheck, Facts, Heard, Unread, told
from streamapp.doctor.words import count, names, several
from streamapp.figures import duration
from streamapp.monitor.finding import Finding, Level
from streamapp.monitor.status import DoctorFacts

SESSION_LIMITS: Final = (6.0, 1800.0)
"""Seconds, Kafka's own group.min.session.timeout.ms and group.max.session.timeout.ms."""
TRANSACTION_LIMIT: Final = 900.0
"""Seconds, Kafka's own transaction.max.timeout.ms."""
OFFSETS_RETENTION: Final = 7 * DAY
ROLLOUT: Final = 600.0
"""Seconds that workers of two versions may run side by side: a rollout."""
MANY_REBALANCES: Final = 3
"""Within ROLLOUT."""
REBALANCING_SHARE: Final = 0.01
"""Of an hour."""


def g01_idle_workers(facts: Facts) -> Iterator[Finding]:
    workers, partitions, topic = _crowd(facts)
    if partitions and len(workers) > partitions:
        idle = len(workers) - partitions
        yield warning(
            "G01", topic, f"{several(len(workers), 'worker')}, {several(partitions, 'partition')}: {idle} idle",
            "a partition has one worker at a time: those beyond the partitions of the largest source are spares",
            f"run {partitions}, or create a wider topic (changes key placement)",
        )  # fmt: skip


def g02_headroom(facts: Facts) -> Iterator[Finding]:
    workers, partitions, topic = _crowd(facts)
    if partitions / 2 < len(workers) <= partitions:
        yield information(
            "G02", topic,
            f"{several(len(workers), 'worker')} on {several(partitions, 'partition')}: headroom {partitions / len(workers):.1f}×",
            "partitions cannot be added later without moving keys: keep 2× for growth",
            f"create the next topic with {wide_enough(2 * len(workers))} partitions: streamapp topics plan",
        )  # fmt: skip


def _crowd(facts: Facts) -> tuple[set[str], int, str]:
    """Return the workers, the one that asks among them, and the partitions and name of the largest source."""
    app = facts.app.loaded()
    workers = told(facts.group, app.app_id).workers | ({facts.worker} if facts.worker is not None else set())
    largest = max(facts.existing(app.sources), key=lambda topic: topic.partitions, default=None)
    return workers, (0 if largest is None else largest.partitions), (app.app_id if largest is None else largest.name)


def g03_uneven(facts: Facts) -> Iterator[Finding]:
    group = told(facts.group, facts.app.app_id)
    if group.state != "stable":
        return
    for topics in facts.app.loaded().source_sets:
        for topic in topics:
            held = dict.fromkeys(sorted(group.workers), 0)
            for member in group.members:
                held[member.worker] += sum(1 for partition in member.assigned if partition.topic == topic)
            partitions = sum(held.values())
            if held and partitions and max(held.values()) - min(held.values()) > 1:
                shares = " ".join(f"{worker}={number}" for worker, number in held.items())
                even = [number for number in range(1, partitions + 1) if partitions % number == 0]
                yield warning(
                    "G03", topic, f"{topic}: {shares}", "the worker with the most partitions is the one that falls behind first",
                    f"use {_either(even)} for {several(partitions, 'partition')}; if that is so already, restart the one with the most",
                )  # fmt: skip


def _either(numbers: Sequence[int]) -> str:
    shown = [str(number) for number in numbers]
    return f"{', '.join(shown[:-1])} or {shown[-1]} workers" if len(shown) > 1 else f"{shown[0]} worker"


def g04_new_id_at_each_start(facts: Facts) -> Iterator[Finding]:
    settings = facts.app.settings
    if settings.identity.worker_id is not None:
        return
    for worker in _new_workers(facts):
        yield warning(
            "G04", worker, f"worker id {worker} was made at this start, and the group has run before",
            "unless this is one worker more, its data directory is not kept: then every restart leaves its partitions unowned for "
            f"{duration(settings.group.session_timeout)}, and its tables are restored from nothing",
            "set STREAMAPP_WORKER_ID, or keep STREAMAPP_DATA_DIR",
        )  # fmt: skip


def _new_workers(facts: Facts) -> Iterator[str]:
    heard = _those_that_tell(facts)
    news = [each.document.worker.worker for each, more in heard if more.new_worker_id]
    directory = told(facts.directory)
    if directory.is_new and directory.worker_id is not None:
        news.append(directory.worker_id)
    if not heard and not directory.exists:
        raise CouldNotCheck(f"there is no data directory {directory.path} here, and no worker tells")
    if not news:
        return
    committed = told(facts.committed, facts.app.app_id)
    if committed:
        yield from sorted(set(news))


def g05_rivals(facts: Facts) -> Iterator[Finding]:
    found: dict[str, set[str]] = {}
    for member in told(facts.group, facts.app.app_id).members:
        # A static id has one member: rivals throw each other out, and stop.
        if not member.is_static:
            found.setdefault(f"{member.worker}", set()).add(member.host)
    places = {worker: hosts for worker, hosts in found.items() if len(hosts) > 1}
    if not facts.at_start:
        processes: dict[str, set[str]] = {}
        for each in told(facts.workers):
            process = each.document.worker
            processes.setdefault(process.worker, set()).add(f"{each.url} (process {process.pid})")
        lives: dict[str, set[tuple[int, float]]] = {}
        for each in told(facts.workers):
            lives.setdefault(each.document.worker.worker, set()).add((each.document.worker.pid, each.document.worker.started))
        places |= {worker: processes[worker] for worker, each in lives.items() if len(each) > 1}
    for worker, where in sorted(places.items()):
        yield error(
            "G05", worker, f"{len(where)} live workers are called {worker}: {names(sorted(where))}",
            "each throws the other out of the group and aborts its transactions, until one stops (exit 1)",
            "set STREAMAPP_WORKER_ID to a name of its own for each",
        )  # fmt: skip


def g06_session_and_restarts(facts: Facts) -> Iterator[Finding]:
    group = facts.app.settings.group
    if group.group_protocol != "classic":
        return
    if group.session_timeout > 300:
        yield information(
            "G06", "STREAMAPP_SESSION_TIMEOUT", f"session_timeout {duration(group.session_timeout)} is above 5m",
            "so long are the partitions of a worker unowned that does not come back", "set STREAMAPP_SESSION_TIMEOUT=300",
        )  # fmt: skip
    measured = {each.document.worker.worker: more.restarts for each, more in _those_that_tell(facts)}
    directory = told(facts.directory)
    if not measured and not directory.exists:
        raise CouldNotCheck(f"there is no data directory {directory.path} here, and no worker tells how long its restarts took")
    if directory.worker_id is not None or directory.restarts:
        measured.setdefault(directory.worker_id or "the worker here", directory.restarts)
    for worker, restarts in sorted(measured.items()):
        took = quantile(restarts, 0.95)
        if took is not None and group.session_timeout < 1.5 * took:
            yield warning(
                "G06", worker, f"restart {duration(took)}, session {duration(group.session_timeout)}: "
                + ("each restart rebalances" if took >= group.session_timeout else "a slow restart rebalances"),
                "a static member that is back within the session keeps its partitions, and nobody else stops",
                f"set STREAMAPP_SESSION_TIMEOUT={-(-1.5 * took // 1):.0f}",
            )  # fmt: skip


def g07_timeouts(facts: Facts) -> Iterator[Finding]:
    group, transaction = facts.app.settings.group, facts.app.settings.transaction
    classic = group.group_protocol == "classic"
    if classic and group.heartbeat > group.session_timeout / 3 + 1e-9:
        yield _limit("heartbeat_interval", group.heartbeat, f"a third of STREAMAPP_SESSION_TIMEOUT ({group.session_timeout:g} s)",
                     group.session_timeout / 3)  # fmt: skip
    if transaction.commit_interval > transaction.transaction_timeout / 3 + 1e-9:
        yield _limit("commit_interval", transaction.commit_interval,
                     f"a third of STREAMAPP_TRANSACTION_TIMEOUT ({transaction.transaction_timeout:g} s)",
                     transaction.transaction_timeout / 3)  # fmt: skip
    if classic and transaction.exactly_once and transaction.transaction_timeout > group.session_timeout:
        yield warning(
            "G07", "STREAMAPP_TRANSACTION_TIMEOUT",
            f"transaction_timeout {transaction.transaction_timeout:g} s is above session_timeout {group.session_timeout:g} s",
            "the partitions of a dead worker go to others that then wait for its open transaction",
            f"set STREAMAPP_TRANSACTION_TIMEOUT={group.session_timeout:g} or less",
        )  # fmt: skip
    broker = told(facts.broker_config, "broker settings")
    if classic:
        low = _seconds(broker, "group.min.session.timeout.ms", SESSION_LIMITS[0])
        high = _seconds(broker, "group.max.session.timeout.ms", SESSION_LIMITS[1])
        if not low <= group.session_timeout <= high:
            yield error(
                "G07", "STREAMAPP_SESSION_TIMEOUT",
                f"STREAMAPP_SESSION_TIMEOUT={group.session_timeout:g}: the broker takes {low:g} to {high:g} s",
                "the broker refuses such a member: the worker would get no partition",
                f"set STREAMAPP_SESSION_TIMEOUT={min(max(group.session_timeout, low), high):g}, or change the broker's "
                "group.min.session.timeout.ms and group.max.session.timeout.ms",
            )  # fmt: skip
    longest = _seconds(broker, "transaction.max.timeout.ms", TRANSACTION_LIMIT)
    if transaction.exactly_once and transaction.transaction_timeout > longest:
        yield error(
            "G07", "STREAMAPP_TRANSACTION_TIMEOUT",
            f"STREAMAPP_TRANSACTION_TIMEOUT={transaction.transaction_timeout:g}: the broker takes {longest:g} s at most",
            "the broker refuses such a producer: the worker could not open a transaction",
            f"set STREAMAPP_TRANSACTION_TIMEOUT={longest:g}, or raise the broker's transaction.max.timeout.ms",
        )  # fmt: skip


def _limit(setting: str, value: float, words: str, limit: float) -> Finding:
    variable = f"STREAMAPP_{setting.upper()}"
    return error("G07", variable, f"{variable}={value:g}: must be at most {limit:g}, {words}", "later is too late", f"set {variable}={limit:g}")  # fmt: skip


def _seconds(config: Mapping[str, str], name: str, default: float) -> float:
    return int(config[name]) / 1000 if name in config else default


def g08_slow_handlers(facts: Facts) -> Iterator[Finding]:
    settings = facts.app.settings
    timeouts = {agent.name: float(agent.retry.attempt_timeout) for agent in facts.app.loaded().agents}
    slowest: dict[str, tuple[float, int | None]] = {}
    commits = [0.0]
    for each in told(facts.workers):
        more = each.document.doctor
        commits.append(each.document.transactions.commit_p99 or 0.0)
        for agent in each.document.agents:
            if agent.p99 is not None and agent.p99 > slowest.get(agent.name, (0.0, None))[0]:
                slowest[agent.name] = (agent.p99, None if more is None else more.batch_max.get(agent.name))
    for name, (took, taken) in sorted(slowest.items()):
        half = timeouts.get(name, settings.retry.retry_attempt_timeout) / 2
        if took > half:
            fits = None if taken is None or taken < 2 else max(1, int(taken * half / took))
            yield warning(
                "G08", name,
                f"{name}: p99 {duration(took)}" + ("" if fits is None else f" for take({taken})") + f", half of the attempt timeout is {duration(half)}",
                "an attempt that runs into its timeout counts as failed and is done again",
                f"use take({fits})" if fits is not None else f"make {name} faster, or raise its Retry(attempt_timeout=)",
            )  # fmt: skip
        whole, poll = took + max(commits), settings.group.max_poll_interval
        if whole > poll / 2:
            yield warning(
                "G08", name, f"{name}: p99 {duration(took)} and commit {duration(max(commits))}, half of max_poll_interval is {duration(poll / 2)}",
                "a rebalance waits for calls in hand; one that waits for longer than max_poll_interval throws the worker out",
                f"set STREAMAPP_MAX_POLL_INTERVAL={-(-2 * whole // 1):.0f}",
            )  # fmt: skip


def g09_rebalances(facts: Facts) -> Iterator[Finding]:
    now = facts.now
    busiest: tuple[int, float, str] = (0, 0.0, "")
    for each, more in _telling(facts):
        recent = [note for note in more.rebalances if now - (note.at - each.clock) <= ROLLOUT]
        lasted = sum(note.seconds for note in more.rebalances if now - (note.at - each.clock) <= 3600)
        busiest = max(busiest, (len(recent), lasted, each.document.worker.worker))
    number, lasted, worker = busiest
    if number < MANY_REBALANCES and lasted <= REBALANCING_SHARE * 3600:
        return
    joined = sorted(
        name for name, row in told(facts.workers_seen, "<app id>-meta").items() if any(now - at <= ROLLOUT for at in row.starts)
    )
    live = told(facts.group, facts.app.app_id).workers
    left = sorted(name for name, row in told(facts.workers_seen).items()
                  if name not in live and row.starts and now - row.starts[-1] <= 3600)  # fmt: skip
    who = f"started: {names(joined)}" if joined else "members expired, no deploy: handlers too slow"
    gone = f"; gone: {names(left)}" if left else ""
    yield warning(
        "G09", worker, f"{number} rebalances in 10m, {duration(lasted)} of the last hour; {who}{gone}",
        "work stands still in each; a member that expires because it is slow makes the others slower: the spiral",
        "look at G06 and G08; keep STREAMAPP_WORKER_ID stable, so that a restart does not rebalance"
        if joined
        else "make handlers faster (G08), or set STREAMAPP_SESSION_TIMEOUT higher",
    )  # fmt: skip


def g10_mixed(facts: Facts) -> Iterator[Finding]:
    running = sorted((each.document.worker.worker, each.document.worker.version, each.document.worker.started - each.clock)
                     for each in told(facts.workers))  # fmt: skip
    if isinstance(facts.workers_seen, Mapping):
        live = told(facts.group, facts.app.app_id).workers
        asked = {worker for worker, _, _ in running}
        rows = {name: row for name, row in facts.workers_seen.items() if name in live - asked and row.starts}
        running += [(name, row.version, row.starts[-1]) for name, row in rows.items()]
    if not running or facts.now - max(started for _, _, started in running) <= ROLLOUT:
        return
    if len({version for _, version, _ in running}) > 1:
        yield warning(
            "G10", facts.app.app_id, names(f"{worker} {version}" for worker, version, _ in sorted(running)),
            "two versions side by side for longer than a rollout: which one handled a record is chance",
            "finish the rollout: restart the workers of the older version",
        )  # fmt: skip
    protocols = {
        each.document.worker.worker: next((row.value for row in each.document.config if row.name == "group_protocol"), None)
        for each in told(facts.workers)
    }
    if len({protocol for protocol in protocols.values() if protocol}) > 1:
        yield warning(
            "G10", facts.app.app_id, names(f"{worker} {protocol}" for worker, protocol in sorted(protocols.items()) if protocol),
            "members of both group protocols are in one group: the assignor is not ours then",
            "set STREAMAPP_GROUP_PROTOCOL to one value, and restart the others",
        )  # fmt: skip


def g11_empty_group(facts: Facts) -> Iterator[Finding]:
    group, committed = told(facts.group, facts.app.app_id), told(facts.committed, facts.app.app_id)
    if not group.is_empty or not committed:
        return
    again = sum(max(0, ends.stable - ends.start) for partition, ends in told(facts.ends).items() if partition in committed)
    records = f"{count(again)} records"
    then = {"latest": f"{records} are skipped", "error": "the worker stops"}.get(
        facts.app.settings.topics.auto_offset_reset, f"{records} are read again"
    )
    if isinstance(facts.empty_since, float) and isinstance(facts.broker_config, Mapping):
        minutes = facts.broker_config.get("offsets.retention.minutes")
        kept = OFFSETS_RETENTION if minutes is None else int(minutes) * 60.0
        left = max(0.0, facts.empty_since + kept - facts.now)
        yield Finding(
            "G11", Level.ERROR if left < DAY else Level.WARNING, facts.app.app_id,
            f"nobody is in the group; its offsets expire in {duration(left)}, then {then}",
            "a group's offsets are kept for offsets.retention.minutes after its last member has gone",
            "start a worker" + ("" if left >= DAY else "; or raise offsets.retention.minutes in the brokers' server.properties"),
        )  # fmt: skip
        return
    yield warning(
        "G11", facts.app.app_id, f"nobody is in the group; once its offsets expire, {then}",
        "a group's offsets are kept for offsets.retention.minutes after its last member has gone", "start a worker",
    )  # fmt: skip
    unread = [fact.reason for fact in (facts.empty_since, facts.broker_config) if isinstance(fact, Unread)]
    reason = unread[0] if unread else "the group left no sign of when it became empty"
    yield unchecked("G11", facts.app.app_id, f"when they expire: {reason}")


# --- what they share


def _those_that_tell(facts: Facts) -> list[tuple[Heard, DoctorFacts]]:
    """Return the workers that tell what only they know; there need be none."""
    heard = facts.workers if isinstance(facts.workers, Sequence) else ()
    return [(each, each.document.doctor) for each in heard if each.document.doctor is not None]


def _telling(facts: Facts) -> list[tuple[Heard, DoctorFacts]]:
    """Return the workers that tell what only they know. Raises CouldNotCheck: none does."""
    told(facts.workers)
    found = _those_that_tell(facts)
    if not found:
        raise CouldNotCheck("the workers that answer are of a version that does not tell")
    return found


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that so large a share of them does not exceed; None of none."""
    ordered = sorted(values)
    return None if not ordered else ordered[min(len(ordered) - 1, int(-(-share * len(ordered) // 1)) - 1)]


def wide_enough(partitions: float) -> int:
    """Return a count with many divisors that is not below: 6, 12, 24, 48, and multiples of 48."""
    for size in (6, 12, 24, 48):
        if partitions <= size:
            return size
    return int(-(-partitions // 48)) * 48


CHECKS: Final = (
    Check(
        id="G01",
        title="workers without a partition",
        level=Level.WARNING,
        reads=("group", "topics"),
        look=g01_idle_workers,
        at_start=True,
    ),
    Check(id="G02", title="headroom in partitions", level=Level.INFORMATION, reads=("group", "topics"), look=g02_headroom),
    Check(id="G03", title="partitions spread over workers", level=Level.WARNING, reads=("group",), look=g03_uneven),
    Check(
        id="G04",
        title="a worker id that stays",
        level=Level.WARNING,
        reads=("workers", "directory", "committed"),
        look=g04_new_id_at_each_start,
        at_start=True,
    ),
    Check(
        id="G05", title="one live worker per id", level=Level.ERROR, reads=("group", "workers"), look=g05_rivals, at_start=True
    ),
    Check(
        id="G06",
        title="session timeout against restarts",
        level=Level.WARNING,
        reads=("workers", "directory"),
        look=g06_session_and_restarts,
    ),
    Check(
        id="G07",
        title="timeouts against each other and the broker",
        level=Level.ERROR,
        reads=("broker_config",),
        look=g07_timeouts,
        at_start=True,
        refuses=True,
    ),
    Check(id="G08", title="handlers against their timeouts", level=Level.WARNING, reads=("workers",), look=g08_slow_handlers),
    Check(id="G09", title="rebalances", level=Level.WARNING, reads=("workers", "workers_seen", "group"), look=g09_rebalances),
    Check(
        id="G10",
        title="one version and assignor",
        level=Level.WARNING,
        reads=("workers", "workers_seen", "group"),
        look=g10_mixed,
    ),
    Check(
        id="G11",
        title="offsets of an empty group",
        level=Level.ERROR,
        look=g11_empty_group,
        reads=("group", "committed", "ends", "empty_since", "broker_config"),
    ),
)

__all__ = ["CHECKS", "quantile", "wide_enough"]
