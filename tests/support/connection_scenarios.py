"""What networks and brokers do to workers, as many rounds as the caller has time for: long under tests/faults, short in CI."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from tests.support.ledger import DEMAND, DLQ, ORDERS
from tests.support.ordered_faults import Api, HeldBack, Loss, LostReply, Request
from tests.support.proxied_run import ProxiedRun
from tests.support.topics import wait_until

HOLES: Final = (0.5, 3.0, 7.0, 12.0)
"""Seconds: under a request's time (2.5), over it, over the session timeout (6), over the transaction timeout (10)."""
RENEWED: Final = "joining again with a new consumer: it hears no broker"


def cuts(run: ProxiedRun, rounds: int) -> None:
    """Cut all connections; every third time the next cut comes before all have recovered."""
    for number in range(rounds):
        run.strike(run.line.proxy.cut)
        if number % 3:
            run.recovered()
    assert run.line.proxy.cuts >= rounds


def blackholes(run: ProxiedRun, rounds: int, holes: tuple[float, ...] = HOLES) -> None:
    """Connections stay and nothing passes, for shorter and longer than each timeout."""
    for number in range(rounds):

        def hole(seconds: float = holes[number % len(holes)]) -> None:
            with run.line.proxy.blackhole():
                _for(seconds)

        run.strike(hole)
        run.recovered()


def no_broker_is_named(run: ProxiedRun, rounds: int) -> None:
    """Each client asks for metadata and is told of no broker, as by one that its controller holds for dead: it asks nobody again."""
    readers = {f"{run.job.app_id}-{name}-{topic}" for name in run.names for topic in (ORDERS, DEMAND, DLQ)}
    for _ in range(rounds):

        def strike() -> None:
            emptied = run.line.proxy.no_brokers(times=1_000_000)
            run.line.proxy.cut()  # who connects anew asks anew
            wait_until(
                lambda: readers <= emptied.clients,
                deadline=60,
                every=0.01,
                why=lambda: f"only {emptied.clients} were told of no broker",
            )
            emptied.times = 0

        workers = [run.job.workers[name] for name in run.names]
        before = {worker: worker.log_text().count(RENEWED) for worker in workers}
        run.strike(strike)
        for worker in workers:
            wait_until(
                lambda worker=worker, before=before[worker]: worker.log_text().count(RENEWED) > before,  # type: ignore[misc]  # bound now
                deadline=60,
                why=lambda worker=worker: f"its deaf consumers are kept\n{worker.tail()}",  # type: ignore[misc]  # bound now
            )
        run.recovered()


def slowness(run: ProxiedRun, rounds: int, seconds: float = 5.0) -> None:
    """Each chunk takes its time, and bandwidth is scarce."""
    for number in range(rounds):

        def crawl(delay: float = (0.01, 0.05, 0.2)[number % 3], rate: float = (400_000.0, 100_000.0)[number % 2]) -> None:
            with run.line.proxy.slow(delay=delay, bytes_per_second=rate):
                _for(seconds)

        run.strike(crawl)
        run.recovered()


def lost_replies(run: ProxiedRun, rounds: int) -> None:
    """The broker commits, the worker never hears of it."""
    for number in range(rounds):
        then = (Loss.CUT, Loss.HANG)[number % 2]
        lost: LostReply = run.line.proxy.lose_reply(Api.END_TXN, then, where=_commits_of(run), nth=run.random.randint(1, 5))
        lost.wait(deadline=60)
        run.landed(inside=True)
        run.recovered()
        assert lost.codes == [0]


def deaths_before_the_answer(run: ProxiedRun, lives: int) -> None:
    """The broker ends a transaction of w1, and w1 is killed before it hears so."""
    worker = run.job.workers["w1"]
    mine = run.producer(worker)
    for _ in range(lives):
        lost = run.line.proxy.lose_reply(
            Api.END_TXN,
            Loss.HANG,
            where=lambda request: request.client_id == mine and request.commits,
            nth=run.random.randint(1, 5),
        )
        lost.wait(deadline=60)
        assert worker.kill() == -9
        assert lost.codes == [0]
        run.scenario.kills += 1
        run.landed(inside=True)
        run.start(worker)
        run.recovered()


def held_back(run: ProxiedRun, rounds: int, api: Api, *, kill_every: int = 3) -> list[int]:
    """A request of one transaction arrives in a later one; every so often its worker dies right after. Return the answers' codes."""
    codes: list[int] = []
    for number in range(rounds):
        worker = run.worker()
        mine = run.producer(worker)

        def where(request: Request, client: str = mine) -> bool:
            return request.client_id == client and (request.api != Api.END_TXN or request.commits)

        held: HeldBack = run.line.proxy.hold_back(api, where=where, nth=run.random.randint(1, 5))
        held.wait(deadline=60)
        run.landed(inside=True)
        codes += held.codes
        if kill_every and number % kill_every == kill_every - 1:
            assert worker.kill() == -9
            run.scenario.kills += 1
            run.landed(inside=False)
            run.start(worker)
        run.recovered()
    return codes


def late_inits(run: ProxiedRun, rounds: int) -> None:
    """A producer is replaced, and the first word of the new one arrives once its second was answered and records are under way.

    Workers take turns: five such fences of one in a minute would be taken for a rival's.
    """
    for number in range(rounds):
        mine = run.producer(run.job.workers[run.names[number % len(run.names)]])

        def of_it(request: Request, client: str = mine) -> bool:
            return request.client_id == client

        def commits(request: Request, client: str = mine) -> bool:
            return request.client_id == client and request.commits

        held = run.line.proxy.hold_back(Api.INIT_PRODUCER_ID, where=of_it)
        lost = run.line.proxy.lose_reply(Api.END_TXN, Loss.CUT, where=commits)
        held.wait(deadline=60)
        assert lost.landed == 1
        run.landed(inside=True, times=2)
        run.recovered()


def restarts(run: ProxiedRun, rounds: int, end: Callable[[], object]) -> None:
    """The broker goes, by `end`, and comes back with what it had."""

    def restart() -> None:
        end()
        run.line.node.start()

    for _ in range(rounds):
        run.strike(restart)
        run.recovered()


def pauses(run: ProxiedRun, rounds: int, seconds: tuple[float, ...] = HOLES) -> None:
    """The broker stands still, its connections open, and goes on."""
    for number in range(rounds):

        def freeze(still: float = seconds[number % len(seconds)]) -> None:
            run.line.node.pause()
            try:
                _for(still)
            finally:
                run.line.node.resume()

        run.strike(freeze)
        run.recovered()


def _commits_of(run: ProxiedRun) -> Callable[[Request], bool]:
    mine = run.producer(run.worker())
    return lambda request: request.client_id == mine and request.commits


def _for(seconds: float) -> None:
    """How long a fault lasts; nothing is waited for."""
    threading.Event().wait(seconds)
