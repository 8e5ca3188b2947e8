"""An app is fitted to the cluster as it is: what is missing is created as the contract says, and what cannot work refuses the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from streamapp.clock import Deadline
from streamapp.errors import TopologyInvalid
from streamapp.pipeline.spec import AgentSpec, SourceSpec, TableSpec
from streamapp.settings import load
from streamapp.worker.cluster import Cluster, TopicDeclaration, Topology

DAY_MS = 86_400_000


class FakeAdmin:
    """A cluster's topics in a dict."""

    def __init__(self, topics: Mapping[str, int], configs: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.counts = dict(topics)
        self.configs = {name: dict(config) for name, config in (configs or {}).items()}
        self.replicas: dict[str, int] = {}
        self.made: list[str] = []
        self.refuses: set[str] = set()
        self.quicker: dict[str, int] = {}
        """Topics that somebody else creates just before us, with their partition counts."""
        self.hidden: set[str] = set()
        """Topics whose settings we have no right to read."""

    def partition_counts(self, topics: Sequence[str], deadline: Deadline) -> dict[str, int]:
        return {topic: self.counts[topic] for topic in topics if topic in self.counts}

    def create(self, topic: str, partitions: int, config: Mapping[str, str], replicas: int, deadline: Deadline) -> bool:
        assert topic not in self.counts, f"{topic} exists"
        if topic in self.refuses:
            raise TopologyInvalid(f"topic {topic} cannot be created: TOPIC_AUTHORIZATION_FAILED")
        if topic in self.quicker:
            self.counts[topic] = self.quicker[topic]
            return False
        self.counts[topic], self.configs[topic], self.replicas[topic] = partitions, dict(config), replicas
        self.made.append(topic)
        return True

    def topic_ids(self, topics: Sequence[str], deadline: Deadline) -> dict[str, str]:
        return {topic: f"id of {topic}" for topic in topics}

    def topic_configs(self, topics: Sequence[str], deadline: Deadline) -> dict[str, dict[str, str]]:
        return {topic: self.configs.get(topic, {}) for topic in topics if topic not in self.hidden}


async def nothing(cursor: Any) -> None: ...


def agent(*topics: str, name: str = "", dlq: str | None = None) -> AgentSpec:
    sources = tuple(SourceSpec(topic=topic, decode=lambda value: value) for topic in topics)
    return AgentSpec(name=name or "+".join(topics), sources=sources, run=nothing, dlq=dlq)


def table(name: str, *topics: str, **config: str) -> TableSpec:
    written = {key.replace("_", "."): value for key, value in config.items()}
    return TableSpec(name=name, topics=topics, changelog=f"shop-{name}-changelog", changelog_config=written)


def fit(
    admin: FakeAdmin,
    agents: Sequence[AgentSpec],
    tables: Sequence[TableSpec] = (),
    topics: Sequence[TopicDeclaration] = (),
    **settings: object,
) -> Topology:
    given = load({"app_id": "shop", **settings}, {}, {})
    return Cluster(given, lambda: admin, agents, tables, topics).fit(Deadline.after(10))


# --- topics


def test_each_missing_declared_topic_gets_its_own_count_whatever_the_others_have() -> None:
    admin = FakeAdmin({"orders": 3})
    declared = [TopicDeclaration(name="orders", partitions=8), TopicDeclaration(name="priced", partitions=8)]
    topology = fit(admin, [agent("orders")], topics=declared)
    assert admin.counts == {"orders": 3, "priced": 8}
    assert topology.partitions == {"orders": 3}
    assert topology.ready[0].partitions == 3


def test_a_topic_is_created_with_its_declared_settings_and_the_brokers_replication_unless_told_otherwise() -> None:
    admin = FakeAdmin({})
    declared = [
        TopicDeclaration(name="a", partitions=1, config={"retention.ms": "1000"}),
        TopicDeclaration(name="b", partitions=1, replicas=3),
    ]
    fit(admin, [agent("a")], topics=declared)
    assert admin.configs["a"] == {"retention.ms": "1000"}
    assert (admin.replicas["a"], admin.replicas["b"]) == (-1, 3)


def test_a_repartition_topic_gets_the_count_of_what_it_follows() -> None:
    admin = FakeAdmin({"sales": 5})
    declared = [TopicDeclaration(name="shop-by-sku", follows="sales")]
    fit(admin, [agent("sales"), agent("shop-by-sku")], topics=declared)
    assert admin.counts["shop-by-sku"] == 5


def test_a_source_topic_that_nobody_declares_is_missing_and_the_others_run() -> None:
    admin = FakeAdmin({"sales": 2})
    topology = fit(admin, [agent("sales", dlq="sales-dlq"), agent("returns", dlq="returns-dlq")], [table("sums", "returns")])
    assert topology.missing == {"returns": ["returns"]}
    assert [each.topics for each in topology.ready] == [("sales",)]
    assert admin.made == ["sales-dlq", "shop-dlq-status"], "what belongs to a missing topic waits with it"


def test_without_the_right_to_declare_a_missing_source_is_waited_for_and_another_topic_is_named() -> None:
    admin = FakeAdmin({})
    declared = [TopicDeclaration(name="sales", partitions=2), TopicDeclaration(name="out", partitions=2)]
    topology = fit(admin, [agent("sales")], topics=declared, topic_allow_declare=False)
    assert topology.missing == {"sales": ["sales"]}
    assert topology.absent == ["out"]
    assert admin.made == []


def test_topics_that_feed_one_table_must_have_equal_counts() -> None:
    with pytest.raises(TopologyInvalid, match="a has 2, b has 3 partitions"):
        fit(FakeAdmin({"a": 2, "b": 3}), [agent("a"), agent("b")], [table("t", "a", "b")])


def test_topics_that_feed_one_table_are_one_set_with_their_common_count() -> None:
    admin = FakeAdmin({"a": 3, "b": 3, "c": 5})
    topology = fit(admin, [agent("a"), agent("b"), agent("c")], [table("t", "a", "b")])
    assert [(each.topics, each.partitions) for each in topology.ready] == [(("a", "b"), 3), (("c",), 5)]
    assert admin.counts["shop-t-changelog"] == 3


def test_a_table_waits_until_all_of_its_topics_are_there() -> None:
    admin = FakeAdmin({"a": 3})
    topology = fit(admin, [agent("a"), agent("b")], [table("t", "a", "b")])
    assert topology.missing == {"a+b": ["b"]}
    assert topology.ready == []
    assert admin.made == []


# --- changelogs


def test_a_changelog_is_created_compacted_with_its_sources_count_and_the_time_of_writing() -> None:
    admin = FakeAdmin({"sales": 4})
    topology = fit(admin, [agent("sales")], [table("sums", "sales", segment_ms="1000", delete_retention_ms="5000")])
    changelog = "shop-sums-changelog"
    assert admin.counts[changelog] == 4
    assert admin.configs[changelog] == {
        "cleanup.policy": "compact",
        "message.timestamp.type": "LogAppendTime",
        "segment.ms": "1000",
        "delete.retention.ms": "5000",
    }
    assert topology.changelog_ids == {changelog: f"id of {changelog}"}
    assert topology.tombstones_kept == {changelog: 5.0}


def test_a_changelog_of_held_records_takes_the_largest_of_their_topics() -> None:
    admin = FakeAdmin(
        {"sales": 4, "returns": 4}, {"sales": {"max.message.bytes": "5000"}, "returns": {"max.message.bytes": "100"}}
    )
    fit(admin, [agent("sales", "returns")], [replace(table("held", "sales", "returns"), keeps_records=True)])
    assert admin.configs["shop-held-changelog"]["max.message.bytes"] == str(5000 + 65_536)


def test_a_changelog_whose_count_is_not_its_sources_refuses() -> None:
    admin = FakeAdmin({"sales": 4, "shop-sums-changelog": 3})
    with pytest.raises(TopologyInvalid, match="shop-sums-changelog has 3 partitions, its source sales 4"):
        fit(admin, [agent("sales")], [table("sums", "sales")])


def test_a_changelog_that_another_worker_creates_meanwhile_must_fit_as_well() -> None:
    admin = FakeAdmin({"sales": 4})
    admin.quicker["shop-sums-changelog"] = 3
    with pytest.raises(TopologyInvalid, match="shop-sums-changelog has 3 partitions"):
        fit(admin, [agent("sales")], [table("sums", "sales")])


@pytest.mark.parametrize("policy", ["delete", "compact,delete", "delete, compact"])
def test_a_changelog_that_loses_rows_refuses_and_none_is_created(policy: str) -> None:
    with pytest.raises(TopologyInvalid, match=f"cleanup.policy={policy}"):
        fit(
            FakeAdmin({"sales": 4, "shop-sums-changelog": 4}, {"shop-sums-changelog": {"cleanup.policy": policy}}),
            [agent("sales")],
            [table("sums", "sales")],
        )
    admin = FakeAdmin({"sales": 4})
    with pytest.raises(TopologyInvalid, match=f"cleanup.policy={policy}"):
        fit(admin, [agent("sales")], [table("sums", "sales", cleanup_policy=policy)])
    assert admin.made == []


def test_a_changelog_that_deletes_nothing_after_all_is_accepted() -> None:
    endless = {"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "-1"}
    admin = FakeAdmin({"sales": 4, "shop-sums-changelog": 4}, {"shop-sums-changelog": endless})
    assert fit(admin, [agent("sales")], [table("sums", "sales")]).ready


def test_a_changelog_whose_settings_are_hidden_is_accepted() -> None:
    admin = FakeAdmin({"sales": 4, "shop-sums-changelog": 4})
    admin.hidden.add("shop-sums-changelog")
    assert fit(admin, [agent("sales")], [table("sums", "sales")]).tombstones_kept == {"shop-sums-changelog": 86_400.0}


# --- dead-letter topics


def dlq_settings(*source_configs: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the DLQ that topics with these settings share."""
    names = [f"source-{number}" for number in range(len(source_configs))]
    admin = FakeAdmin(dict.fromkeys(names, 2), dict(zip(names, source_configs, strict=True)))
    fit(admin, [agent(name, dlq="letters") for name in names])
    return admin.configs["letters"]


def test_a_dlq_gets_the_largest_count_of_its_sources() -> None:
    admin = FakeAdmin({"a": 2, "b": 7, "c": 9})
    topology = fit(admin, [agent("a", dlq="letters"), agent("b", dlq="letters"), agent("c", dlq="c-dlq")])
    assert admin.counts["letters"] == 7
    assert topology.dlq_partitions == {"letters": 7, "c-dlq": 9}


def test_a_dlq_keeps_letters_thirty_days_or_four_times_as_long_as_the_source_kept_them() -> None:
    assert dlq_settings({"retention.ms": str(DAY_MS)})["retention.ms"] == str(30 * DAY_MS)
    assert dlq_settings({"retention.ms": str(DAY_MS)}, {"retention.ms": str(10 * DAY_MS)})["retention.ms"] == str(40 * DAY_MS)
    assert dlq_settings({})["retention.ms"] == str(30 * DAY_MS)


def test_a_dlq_of_a_source_that_keeps_for_ever_does_so_too() -> None:
    assert dlq_settings({"retention.ms": "-1"}, {"retention.ms": str(DAY_MS)})["retention.ms"] == "-1"


def test_a_dlq_takes_the_largest_record_of_its_sources_with_its_headers() -> None:
    assert dlq_settings({"max.message.bytes": "1000"}, {"max.message.bytes": "5000"})["max.message.bytes"] == str(5000 + 65_536)


def test_settings_that_four_times_would_not_fit_stay_at_the_brokers_largest() -> None:
    huge = dlq_settings({"retention.ms": str(2**62), "max.message.bytes": str(2**31 - 1)})
    assert huge["retention.ms"] == str(2**63 - 1)
    assert huge["max.message.bytes"] == str(2**31 - 1)


def test_a_dlq_is_deleted_by_age_of_writing_never_compacted() -> None:
    made = dlq_settings({"cleanup.policy": "compact"})
    assert made["cleanup.policy"] == "delete"
    assert made["message.timestamp.type"] == "LogAppendTime"


def test_a_declared_dlq_keeps_what_it_declares() -> None:
    admin = FakeAdmin({"sales": 4})
    declared = [TopicDeclaration(name="letters", partitions=2, replicas=3, config={"retention.ms": "99"})]
    fit(admin, [agent("sales", dlq="letters")], topics=declared)
    assert (admin.counts["letters"], admin.replicas["letters"]) == (2, 3)
    assert admin.configs["letters"]["retention.ms"] == "99"
    assert admin.configs["letters"]["message.timestamp.type"] == "LogAppendTime"


def test_an_existing_dlq_is_taken_as_it_is_and_its_size_limit_is_the_producers() -> None:
    admin = FakeAdmin({"sales": 4, "letters": 1}, {"letters": {"max.message.bytes": "500000"}})
    topology = fit(admin, [agent("sales", dlq="letters")])
    assert admin.made == ["shop-dlq-status"]
    assert topology.dlq_partitions == {"letters": 1}
    assert topology.largest_dead_letter is not None
    assert 490_000 < topology.largest_dead_letter < 500_000, "the broker counts a little more than the record"


def test_an_app_with_dead_letters_gets_one_partition_for_what_became_of_them_kept_as_long_as_the_longest() -> None:
    kept = {"letters": {"retention.ms": str(40 * DAY_MS)}, "others": {"retention.ms": str(30 * DAY_MS)}}
    admin = FakeAdmin({"a": 3, "b": 3, "letters": 7, "others": 2}, kept)
    topology = fit(admin, [agent("a", dlq="letters"), agent("b", dlq="others")])
    assert topology.has_status
    assert admin.counts["shop-dlq-status"] == 1
    assert admin.configs["shop-dlq-status"] == {
        "cleanup.policy": "compact,delete",
        "retention.ms": str(40 * DAY_MS),
        "message.timestamp.type": "LogAppendTime",
    }


def test_beside_letters_that_are_kept_for_ever_so_is_what_became_of_them() -> None:
    admin = FakeAdmin({"a": 1, "b": 1, "letters": 1, "others": 1}, {"letters": {"retention.ms": "-1"}})
    fit(admin, [agent("a", dlq="letters"), agent("b", dlq="others")])
    assert admin.configs["shop-dlq-status"]["retention.ms"] == "-1"


def test_an_app_without_dead_letters_has_no_status_topic() -> None:
    admin = FakeAdmin({"sales": 1})
    assert not fit(admin, [agent("sales")]).has_status
    assert admin.made == []


def test_without_the_right_to_declare_a_missing_status_topic_refuses_with_what_it_needs() -> None:
    admin = FakeAdmin({"sales": 1, "letters": 1}, {"letters": {"retention.ms": "1000"}})
    with pytest.raises(
        TopologyInvalid,
        match=r"shop-dlq-status does not exist and STREAMAPP_TOPIC_ALLOW_DECLARE is false: create it with 1 partitions and "
        r"message.timestamp.type=LogAppendTime cleanup.policy=compact,delete retention.ms=1000",
    ):
        fit(admin, [agent("sales", dlq="letters")], topic_allow_declare=False)
    admin.counts["shop-dlq-status"] = 1
    assert fit(admin, [agent("sales", dlq="letters")], topic_allow_declare=False).has_status


def test_a_compacted_dlq_refuses() -> None:
    admin = FakeAdmin({"sales": 4, "letters": 4}, {"letters": {"cleanup.policy": "compact,delete"}})
    with pytest.raises(TopologyInvalid, match="letters of one key would overwrite each other"):
        fit(admin, [agent("sales", dlq="letters")])


def test_a_dlq_that_cannot_be_created_refuses() -> None:
    admin = FakeAdmin({"sales": 4})
    admin.refuses.add("letters")
    with pytest.raises(TopologyInvalid, match="letters cannot be created"):
        fit(admin, [agent("sales", dlq="letters")])


@pytest.mark.parametrize("missing", ["letters", "shop-sums-changelog"])
def test_without_the_right_to_declare_a_missing_dlq_or_changelog_refuses_and_says_what_to_create(missing: str) -> None:
    topics = {"sales": 4, "letters": 4, "shop-sums-changelog": 4}
    del topics[missing]
    admin = FakeAdmin(topics)
    with pytest.raises(TopologyInvalid, match=f"{missing} does not exist.*STREAMAPP_TOPIC_ALLOW_DECLARE.*4 partitions.*cleanup"):
        fit(admin, [agent("sales", dlq="letters")], [table("sums", "sales")], topic_allow_declare=False)


def test_an_agent_on_a_dead_letter_topic_runs_as_soon_as_that_is_created() -> None:
    admin = FakeAdmin({"sales": 4})
    topology = fit(admin, [agent("sales", dlq="letters"), agent("letters")], [table("kinds", "letters")])
    assert topology.missing == {}
    assert topology.partitions == {"sales": 4, "letters": 4}
    assert admin.counts["shop-kinds-changelog"] == 4


# --- looking again


def test_what_a_later_look_finds_is_seen_by_who_holds_the_first() -> None:
    admin = FakeAdmin({"sales": 2})
    agents = [agent("sales"), agent("returns", dlq="returns-dlq")]
    first = fit(admin, agents, [table("sums", "returns")])
    held = first.partitions
    had_status = first.has_status
    admin.counts["returns"] = 3
    later = fit(admin, agents, [table("sums", "returns")])
    assert later.missing == {}
    first.learn(later)
    assert held == {"sales": 2, "returns": 3}
    assert first.dlq_partitions == {"returns-dlq": 3}
    assert (had_status, first.has_status) == (False, True)
    assert first.changelog_ids == {"shop-sums-changelog": "id of shop-sums-changelog"}


@pytest.mark.parametrize("forbidden", [True, False], ids=["no right", "not allowed"])
def test_a_missing_dead_letter_topic_that_cannot_be_created_refuses_the_start(forbidden: bool) -> None:
    admin = FakeAdmin({"sales": 2})
    admin.refuses = {"sales-dlq"} if forbidden else set()
    with pytest.raises(TopologyInvalid, match=r"^D01: the dead-letter topic sales-dlq ") as refused:
        fit(admin, [agent("sales", dlq="sales-dlq")], topic_allow_declare=forbidden)
    assert ("cannot be created" if forbidden else "create it with 2 partitions") in str(refused.value)
