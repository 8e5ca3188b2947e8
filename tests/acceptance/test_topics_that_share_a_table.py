"""Agents on two topics may share a table: partition p of both topics is on one worker, and both write the one table partition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.own_project import OwnProject, documents
from tests.support.topics import wait_until

PARTITIONS = range(4)


@pytest.fixture(scope="module")
def project(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnProject]:
    """Two workers, the second of which joined the running first, and ten records in each partition of both topics."""
    with OwnProject(bootstrap, tmp_path_factory.mktemp("pair"), "pair", topics={"left": 4, "right": 4}) as made:
        made.worker("w1")
        made.feed("left", 1000)
        made.wait_for("out", 1)
        made.worker("w2")
        for _ in range(10):
            for partition in PARTITIONS:
                made.feed("left", 1, partition=partition)
                made.feed("right", 100, partition=partition)
        made.wait_for("out", 1 + 2 * 10 * len(PARTITIONS))
        yield made


def test_a_partition_of_both_topics_is_on_one_worker_and_both_workers_have_some(project: OwnProject) -> None:
    owners = defaultdict(set)
    for partition, worker, _ in documents(project.read("out"))[1:]:
        owners[partition].add(worker)
    assert sorted(map(sorted, owners.values())) == [["w1"], ["w1"], ["w2"], ["w2"]]


def test_no_addition_of_either_agent_is_lost_or_seen_twice(project: OwnProject) -> None:
    seen = defaultdict(list)
    for partition, _, total in documents(project.read("out")):
        seen[partition].append(total)
    assert {partition: max(totals) for partition, totals in seen.items()} == {0: 2010, 1: 1010, 2: 1010, 3: 1010}
    # Each addition is a step up: two agents that read one old value would show one sum twice.
    assert all(sorted(set(totals)) == sorted(totals) for totals in seen.values())


def test_of_two_workers_one_runs_the_leaders_timers_and_each_its_own(project: OwnProject) -> None:
    before = {name: len(project.read(name)) for name in ("beats", "leads")}

    def all_beat() -> bool:
        since = documents(project.read("beats"))[before["beats"] :]
        return min(since.count("w1"), since.count("w2")) >= 5

    wait_until(all_beat, why=lambda: f"beats: {documents(project.read('beats'))}")
    leads = documents(project.read("leads"))[before["leads"] :]
    assert leads
    assert len(set(leads)) == 1


def test_topics_of_unequal_partition_counts_are_refused_with_both_numbers(bootstrap: str, tmp_path: Path) -> None:
    with OwnProject(bootstrap, tmp_path, "pair", topics={"left": 4, "right": 2}) as project:
        done = project.faust("worker")
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("streamapp: ")]
    for told in (project.topic("left"), project.topic("right"), "4", "2", "sums"):
        assert told in line
