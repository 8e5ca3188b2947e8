"""k8s/keda.yaml and its fallback k8s/keda-kafka.yaml: right by what KEDA 2.17 documents of a ScaledObject, and what OPERATIONS §8 says.

Nothing is applied here: that takes a cluster with KEDA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from tests.support.documents import ROOT
from tests.support.metric_names import NAMES, named_in
from tests.support.promtool import promtool

FILES: Final = ("keda.yaml", "keda-kafka.yaml")
SOURCES: Final = {"orders": 8, "sku-demand": 5}
"""Source topics of the order processor, and their partitions."""

# -- a ScaledObject, as KEDA's reference and the pages of its scalers describe the fields that we use (keda.sh/docs/2.17)
_TEXT: Final = {"type": "string", "minLength": 1}
_TRUTH: Final = {"enum": ["true", "false"]}
"""Metadata of a trigger is text, always: an unquoted true is refused."""
_COUNT: Final = {"type": "string", "pattern": r"^[1-9]\d*$"}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}, "additionalProperties": False}


def _number(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


_RULES: Final = _object(
    {
        "policies": {
            "type": "array",
            "minItems": 1,
            "items": _object(
                {"type": {"enum": ["Pods", "Percent"]}, "value": _number(1, 1000), "periodSeconds": _number(1, 1800)}
            ),
        }
    },
    stabilizationWindowSeconds=_number(0, 3600),
)
_TRIGGERS: Final = (
    _object(
        {
            "type": {"const": "prometheus"},
            "metadata": _object({"serverAddress": _TEXT, "query": _TEXT, "threshold": _COUNT}, ignoreNullValues=_TRUTH),
        }
    ),
    _object(
        {
            "type": {"const": "kafka"},
            "metadata": _object(
                {"bootstrapServers": _TEXT, "consumerGroup": _TEXT, "topic": _TEXT, "lagThreshold": _COUNT},
                offsetResetPolicy={"enum": ["earliest", "latest"]},
                allowIdleConsumers=_TRUTH,
                ensureEvenDistributionOfPartitions=_TRUTH,
                scaleToZeroOnInvalidOffset=_TRUTH,
            ),
        }
    ),
)
_BEHAVIOURS: Final = ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]
SCHEMA: Final = _object(
    {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "kind": {"const": "ScaledObject"},
        "metadata": _object({"name": _TEXT}),
        "spec": _object(
            {
                "scaleTargetRef": _object({"name": _TEXT}, kind=_TEXT, apiVersion=_TEXT),
                "triggers": {"type": "array", "minItems": 1, "items": {"oneOf": list(_TRIGGERS)}},
            },
            minReplicaCount=_number(0, 1000),
            maxReplicaCount=_number(1, 1000),
            pollingInterval=_number(1, 3600),
            fallback=_object({"failureThreshold": _number(1, 100), "replicas": _number(1, 1000)}, behavior={"enum": _BEHAVIOURS}),
            advanced=_object(
                {"horizontalPodAutoscalerConfig": _object({"behavior": _object({}, scaleUp=_RULES, scaleDown=_RULES)})}
            ),
        ),
    }
)


def scaled(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "k8s" / file).read_text())
    return found


def spec(file: str) -> dict[str, Any]:
    found: dict[str, Any] = scaled(file)["spec"]
    return found


@pytest.mark.parametrize("file", FILES)
def test_keda_would_take_it(file: str) -> None:
    jsonschema.validate(scaled(file), SCHEMA)


def test_an_unknown_field_and_a_truth_value_that_is_no_text_would_be_found() -> None:
    wrong = scaled("keda-kafka.yaml")
    wrong["spec"]["triggers"][0]["metadata"]["allowIdleConsumers"] = False
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**scaled("keda.yaml"), "status": {}}, SCHEMA)


@pytest.mark.parametrize("file", FILES)
def test_it_begins_with_what_was_not_run_and_how_to_run_it(file: str) -> None:
    head = (ROOT / "k8s" / file).read_text().split("\napiVersion", 1)[0]
    assert "never applied" in head
    assert f"kubectl apply -f k8s/{file}" in head


@pytest.mark.parametrize("file", FILES)
def test_it_scales_our_stateful_set_from_one_worker_to_as_many_as_there_are_partitions(file: str) -> None:
    (workers,) = (
        each for each in yaml.safe_load_all((ROOT / "k8s" / "statefulset.yaml").read_text()) if each["kind"] == "StatefulSet"
    )
    assert spec(file)["scaleTargetRef"] == {"kind": "StatefulSet", "name": workers["metadata"]["name"]}
    assert (spec(file)["minReplicaCount"], spec(file)["maxReplicaCount"]) == (1, max(SOURCES.values()))
    assert spec(file)["fallback"]["behavior"] == "currentReplicas"


@pytest.mark.parametrize("file", FILES)
def test_it_doubles_in_a_minute_and_goes_down_one_by_one_after_ten(file: str) -> None:
    behaviour = spec(file)["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleUp"]["policies"] == [{"type": "Percent", "value": 100, "periodSeconds": 60}]
    assert behaviour["scaleDown"] == {
        "stabilizationWindowSeconds": 600,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}],
    }


def test_there_is_one_kafka_trigger_per_source_with_its_topic() -> None:
    triggers = [each["metadata"] for each in spec("keda-kafka.yaml")["triggers"]]
    assert {each["topic"] for each in triggers} == set(SOURCES)
    for each in triggers:
        assert each["allowIdleConsumers"] == "false"
        assert each["ensureEvenDistributionOfPartitions"] == "true"
        assert int(each["lagThreshold"]) % 60 == 0


def test_the_two_replace_one_another_since_a_stateful_set_takes_one_only() -> None:
    assert len({scaled(file)["metadata"]["name"] for file in FILES}) == 1


# --- the query

NEEDED: Final = 'streamapp_consumer_workers_needed{group="order-processor", instance="%s"}'
STATUS: Final = 'streamapp_consumer_status{group="order-processor", topic="orders", partition="3", status="%s", instance="%s"}'


def query() -> str:
    (trigger,) = spec("keda.yaml")["triggers"]
    found: str = trigger["metadata"]["query"]
    return found


@pytest.mark.parametrize(
    ("series", "workers"),
    [
        pytest.param(
            {NEEDED % "w-0": "2x30", NEEDED % "w-1": "3x30", STATUS % ("CLIFF", "w-0"): "0x30", STATUS % ("OK", "w-1"): "1x30"}, 5,
            id="as many as are needed",
        ),
        pytest.param(
            {NEEDED % "w-0": "7x30", STATUS % ("CLIFF", "w-0"): "1x30", STATUS % ("OK", "w-1"): "1x30"}, 2,
            id="in a cliff as many as there are",
        ),
        pytest.param(
            {NEEDED % "w-0": "7x30", STATUS % ("CLIFF", "w-0"): "1x30", STATUS % ("OK", "w-1"): "1x22 stale"}, 2,
            id="in a cliff also the one that is down",
        ),
        pytest.param(
            {NEEDED % "w-0": "7x30", STATUS % ("CLIFF", "w-0"): "1x30", STATUS % ("OK", "ip-1"): "1x22 stale", STATUS % ("OK", "ip-2"): "_x24 1x6"}, 2,
            id="in a cliff a pod that came back under another address once",
        ),
        pytest.param({STATUS % ("OK", "w-0"): "1x30"}, 1, id="without a figure as many as there are"),
    ],
)  # fmt: skip
def test_the_query_asks_for(tmp_path: Path, series: dict[str, str], workers: int) -> None:
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query(), "eval_time": "29m", "exp_samples": [{"labels": "{}", "value": workers}]}],
    }
    file = tmp_path / "query.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [case]}))
    promtool("test", "rules", str(file))


def test_the_query_asks_for_metrics_that_workers_tell() -> None:
    assert named_in(query()) <= NAMES
