"""A replay killed midway and resumed sends each letter once; of two at once one is refused, and one that slept too long is fenced."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest

from streamapp.pipeline.resolution import JobState, Lock
from tests.support.replay_rig import ReplayRig, once, replay_killed_midway, wait_until_stopped

LETTERS = 250
"""Three transactions of at most 100; the lock's is the first before them."""


@pytest.mark.parametrize(("crash_at", "sent"), [("replay-before-commit:3", 100), ("replay-after-commit:3", 200)])
def test_killed_midway_and_resumed_it_has_sent_each_letter_once(replay_rig: ReplayRig, crash_at: str, sent: int) -> None:
    ids = replay_rig.bury(LETTERS)
    name = replay_killed_midway(replay_rig, "--all", "--rate", "none", "--no-wait", crash_at=crash_at)
    result = replay_rig.dlq_command("replay", "--resume", name, "--execute", "--rate", "none")
    assert result.exit_code == 0, result.output
    assert f"{LETTERS - sent} sent" in result.output
    assert replay_rig.copied() == once(ids)
    assert replay_rig.statuses() == {"replaying": LETTERS}
    job = replay_rig.jobs()[name]
    assert (job.state, job.sent) == (JobState.FINISHED, LETTERS)
    assert replay_rig.lock() is None


def test_of_two_at_once_the_second_is_refused_and_a_stale_one_is_fenced(replay_rig: ReplayRig) -> None:
    ids = replay_rig.bury(LETTERS)
    sleeper = replay_rig.start(
        "replay", "--all", "--rate", "none", "--no-wait", "--execute", STREAMAPP_TEST_CRASH_AT="replay-after-commit:2=stop"
    )
    wait_until_stopped(sleeper)
    refused = replay_rig.dlq_command("replay", "--all", "--execute", "--no-wait")
    assert refused.exit_code == 5, refused.output
    assert "is being replayed by" in refused.output

    lock = replay_rig.lock()
    assert lock is not None
    replay_rig.write(replay_rig.dlq, Lock(job=lock.job, owner=lock.owner, beat=datetime.now(UTC) - timedelta(seconds=60)))
    second = replay_rig.dlq_command("replay", "--all", "--execute", "--no-wait", "--rate", "none")
    assert second.exit_code == 1, second.output
    assert "100 left out: sent before and not answered" in second.output
    sleeper.send_signal(signal.SIGCONT)
    said, _ = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 5, said
    assert "another job replays this dead-letter topic now" in said
    assert replay_rig.copied() == once(ids)
