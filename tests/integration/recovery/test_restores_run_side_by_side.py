"""Many restores run at once, one can be cut short without a loss, and a broker's restart only delays them."""

from __future__ import annotations

from collections.abc import Callable

from streamapp.broker import Broker
from streamapp.state.restore import RestoreState
from tests.support.changelog_bench import Changelog
from tests.support.topics import wait_until


def puts(count: int) -> dict[bytes, bytes | None]:
    return {b"%06d" % number: b"v" * 20 for number in range(count)}


def test_two_at_once_and_one_cancelled(changelog: Changelog) -> None:
    changelog.commit(puts(60_000), 0)
    changelog.commit(puts(60_000), 1)
    first = changelog.begin(0)
    changelog.begin(1)
    changelog.until(lambda progress: progress.restored > 0)
    cancelled = changelog.restorer.cancel(first)
    reached = changelog.store(0).changelog_offset or 0
    outcomes = [changelog.outcome() for _ in range(1 if cancelled else 2)]
    assert {outcome.task.changelog.number for outcome in outcomes} >= {1}
    assert changelog.store(0).changelog_offset == (reached or None)
    again = changelog.restore(0)
    assert again.restored == 60_000 - min(reached, 60_000)  # what was read is kept
    assert changelog.content(0) == changelog.content(1) == puts(60_000)


def test_a_restore_outlives_a_restart_of_the_broker(
    new_broker: Callable[..., Broker], changelog_on: Callable[[str], Changelog]
) -> None:
    broker = new_broker()
    changelog = changelog_on(broker.address)
    changelog.commit(puts(1_000))
    foreign = changelog.producer()
    changelog.send(foreign, {b"late": b"1"})
    changelog.begin()
    changelog.until(lambda progress: progress.state is RestoreState.WAITING)
    broker.stop()
    broker.start()
    foreign.commit_transaction(60)
    assert changelog.outcome().failure is None
    assert changelog.content() == puts(1_000) | {b"late": b"1"}


def test_a_restore_begun_while_the_broker_is_down_says_so_and_ends_when_it_is_back(
    new_broker: Callable[..., Broker], changelog_on: Callable[[str], Changelog]
) -> None:
    broker = new_broker()
    changelog = changelog_on(broker.address)
    changelog.commit(puts(1_000))
    broker.stop()
    changelog.begin()
    progress = changelog.until(lambda progress: progress.trouble is not None)
    assert progress.state is RestoreState.ASKING
    broker.start()
    wait_until(lambda: not changelog.outcomes.empty(), deadline=60, why=lambda: str(changelog.restorer.progress()))
    assert changelog.outcome().restored == 1_000
