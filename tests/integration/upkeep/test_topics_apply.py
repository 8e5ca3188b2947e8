"""`streamapp topics apply` makes an app's topics what it declares, after a preview; it deletes nothing and moves no table's keys."""

from __future__ import annotations

import pytest

from streamapp.clock import Deadline
from streamapp.kafka.admin import KafkaAdmin
from tests.support.topics import create_topic, partitions_of
from tests.support.upkeep_rig import UpkeepApp


def configs(app: UpkeepApp, topic: str) -> dict[str, str]:
    return KafkaAdmin({"bootstrap.servers": app.bootstrap}).topic_configs([topic], Deadline.after(20))[topic]


def test_what_is_missing_is_created_once_it_is_asked_for(upkeep_app: UpkeepApp) -> None:
    app = upkeep_app
    whole = {app.sales: 2, app.totals: 2, app.dlq: 2, app.changelog: 2, app.status: 1, app.meta: 1}
    preview = app.run("topics", "apply")
    assert preview.code == 0 and "PREVIEW" in preview.stderr, preview.stderr
    assert {row[1]: (row[0], int(row[2])) for row in preview.rows} == {name: ("create", count) for name, count in whole.items()}
    assert f"kafka-topics.sh --create --topic {app.sales} --partitions 2" in preview.stderr
    assert not any(partitions_of(app.bootstrap, whole).values()), "a preview makes nothing"
    done = app.faust("topics", "apply", "--execute", "--json")
    assert done.code == 0, done.stderr
    assert [row["done"] for row in done.documents] == [True] * 6
    assert partitions_of(app.bootstrap, whole) == whole
    assert configs(app, app.changelog)["cleanup.policy"] == "compact"
    again = app.run("topics", "plan")
    assert (again.code, again.stdout) == (0, ""), again.stdout
    assert app.run("topics", "apply", "--execute").code == 4


def test_settings_that_differ_are_set_and_others_stay(upkeep_app: UpkeepApp) -> None:
    app = upkeep_app
    assert app.run("topics", "apply", "--execute").code == 0
    KafkaAdmin({"bootstrap.servers": app.bootstrap}).configure(
        app.dlq, {"cleanup.policy": "compact", "segment.bytes": "1048576"}, Deadline.after(20)
    )
    plan = app.run("topics", "plan", "--json")
    (step,) = plan.documents
    assert (plan.code, step["action"], step["topic"], step["config"]) == (0, "set", app.dlq, {"cleanup.policy": "delete"})
    assert app.screen("topics", "apply").splitlines() == [
        "ACTION  TOPIC                    PARTITIONS  SETTINGS               WORDS",
        f"set     {app.dlq}  2           cleanup.policy=delete  has cleanup.policy=compact",
        "PREVIEW, nothing is changed; --execute does it.",
        f"kafka-configs.sh --alter --topic {app.dlq} --add-config cleanup.policy=delete",
    ]
    assert app.run("topics", "apply", "--execute").code == 0
    now = configs(app, app.dlq)
    assert (now["cleanup.policy"], now["segment.bytes"]) == ("delete", "1048576")


def test_partitions_are_added_to_an_output_and_refused_to_a_source_with_tables(upkeep_app: UpkeepApp) -> None:
    app = upkeep_app
    create_topic(app.bootstrap, app.sales, 1)
    create_topic(app.bootstrap, app.totals, 1)
    assert app.run("topics", "apply", "--execute").code == 0
    assert partitions_of(app.bootstrap, [app.sales, app.totals]) == {app.sales: 1, app.totals: 1}
    grown = app.run("topics", "apply", "--grow", "--execute")
    assert grown.code == 1, "the output grows, the source is refused"
    assert partitions_of(app.bootstrap, [app.sales, app.totals]) == {app.sales: 1, app.totals: 2}
    refused = app.run("topics", "apply", "--grow", "--execute")
    assert refused.code == 5 and "sums would be empty" in refused.stdout, refused.stdout
    assert app.run("topics", "plan", "--grow").code == 1


def test_a_changelog_that_fits_no_more_is_refused(upkeep_app: UpkeepApp) -> None:
    app = upkeep_app
    create_topic(app.bootstrap, app.changelog, 5, {"cleanup.policy": "compact"})
    plan = app.run("topics", "plan")
    assert plan.code == 1
    assert any(row[:2] == ["refused", app.changelog] and "keys have moved" in row[4] for row in plan.rows), plan.stdout


@pytest.mark.parametrize(
    ("words", "env", "code"),
    [
        (("plan", "--peak-rate", "10"), {}, 2),
        (("plan", "--workers", "0"), {}, 2),
        (("plan", "--timeout", "0.3"), {"STREAMAPP_BROKER": "127.0.0.1:1"}, 3),
    ],
)
def test_each_end_has_its_code(upkeep_app: UpkeepApp, words: tuple[str, ...], env: dict[str, str], code: int) -> None:
    said = upkeep_app.run("topics", *words, **env)
    assert said.code == code, said.stderr
