"""A restore that has only a commit marker to read is over at once, also for a changelog that its client has not met before."""

from __future__ import annotations

import time

from streamapp.records import Partition
from tests.support.changelog_bench import Changelog
from tests.support.topics import Countdown, create_topic

LOOK_AROUND = 1.0
"""Seconds between two looks of a connected client for the leaders of topics that it does not know."""


def test_a_changelog_new_to_a_connected_client_does_not_wait_for_its_next_look_around(changelog: Changelog) -> None:
    changelog.commit({b"k": b"v"})
    others = [f"{changelog.topic}-{number}" for number in range(4)]
    for topic in others:
        create_topic(changelog.bootstrap, topic, 1)
    reader = changelog.reader()
    try:
        took = []
        for partition in (changelog.partition(), *(Partition(topic, 0) for topic in others)):
            began, countdown, over = time.monotonic(), Countdown(30), False
            reader.open(partition, 0)
            while not over:
                assert not countdown.over, f"{partition} was not read to its end"
                over = any(where == partition and batch.at_end for where, batch in reader.read(0.05).items())
            took.append(time.monotonic() - began)
            reader.shut(partition)
    finally:
        reader.close()
    # The first comes with the connection; each of the others would wait for most of a second. The quickest, as machines are busy.
    assert min(took[1:]) < LOOK_AROUND / 2, took
