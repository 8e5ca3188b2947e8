"""k8s/statefulset.yaml: right by Kubernetes' own schemas, without an unknown field, and what OPERATIONS §8 says.

Nothing is applied here: that takes a cluster.
"""

from __future__ import annotations

from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from streamapp.settings import load, values
from tests.support.documents import ROOT

FILE: Final = ROOT / "k8s" / "statefulset.yaml"
OBJECTS: Final[dict[str, dict[str, Any]]] = {each["kind"]: each for each in yaml.safe_load_all(FILE.read_text())}
SPEC: Final = OBJECTS["StatefulSet"]["spec"]
POD: Final = SPEC["template"]["spec"]
NAME: Final = OBJECTS["StatefulSet"]["metadata"]["name"]
(WORKER,) = POD["containers"]
(DOCTOR,) = POD["initContainers"]
RELEASES: Final = ("1.30", "1.37")
"""The oldest of Kubernetes that is promised, and the newest whose schemas are here."""


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", OBJECTS)
def test_kubernetes_would_take_it(kind: str, release: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], release, strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    wrong = {**OBJECTS["StatefulSet"], "spec": {**SPEC, "minReadySecond": 30}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[-1], strict=True)


def test_it_begins_with_what_was_not_run_and_how_to_run_it() -> None:
    head = FILE.read_text().split("\napiVersion", 1)[0]
    assert "never applied" in head
    assert "kubectl apply -f k8s/statefulset.yaml" in head
    assert "streamapp lag --exit-code --wait 10m" in head


def environment(pod: str) -> dict[str, str]:
    """Return a pod's variables as Kubernetes would fill them in."""
    found: dict[str, str] = {}
    for each in WORKER["env"]:
        value = each["value"] if "value" in each else {"metadata.name": pod}[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for name, known in found.items():
            value = value.replace(f"$({name})", known)
        found[each["name"]] = value
    return found


def test_the_variables_are_settings_that_are_taken_without_a_remark() -> None:
    pods = [f"{NAME}-{ordinal}" for ordinal in range(SPEC["replicas"])]
    for pod in pods:
        settings = load({"app_id": "any"}, {}, environment(pod))
        assert settings.notices == ()
        given = values(settings)
        assert given["worker_id"] == pod
        assert isinstance(given["session_timeout"], float) and given["session_timeout"] >= 45
        assert given["web_bind"] == "0.0.0.0"
        assert given["web_show_values"] is False
        assert given["web_url"] == f"http://{pod}.{SPEC['serviceName']}:6066"
        assert given["web_peers"] == tuple(f"http://{each}.{SPEC['serviceName']}:6066" for each in pods)


def test_a_service_that_is_called_streamapp_cannot_set_anything() -> None:
    assert POD["enableServiceLinks"] is False


def test_a_volume_outlives_its_pod() -> None:
    assert SPEC["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = SPEC["volumeClaimTemplates"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in WORKER["volumeMounts"]


def test_workers_start_together_and_are_replaced_one_by_one() -> None:
    assert SPEC["podManagementPolicy"] == "Parallel"
    assert SPEC["updateStrategy"] == {"type": "RollingUpdate"}
    assert SPEC["minReadySeconds"] == 30
    assert OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_a_stop_is_given_60_seconds() -> None:
    assert POD["terminationGracePeriodSeconds"] == 60


def test_the_probes_ask_what_they_should() -> None:
    probes = {kind: WORKER[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["httpGet"]["path"] for kind, probe in probes.items()} == {
        "startup": "/startupz",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    (port,) = WORKER["ports"]
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {port["name"]}
    assert probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"] >= 1800


def test_the_doctor_looks_first_and_is_not_in_the_way_of_what_only_a_worker_mends() -> None:
    assert DOCTOR["args"] == ["doctor", "--fail-on", "error", "--ignore", "T05,D06,G11,X01"]
    assert DOCTOR["image"] == WORKER["image"]
    assert DOCTOR["env"] == WORKER["env"]


@pytest.mark.parametrize("container", [WORKER, DOCTOR], ids=["worker", "doctor"])
def test_a_container_has_no_rights_that_it_does_not_need(container: dict[str, Any]) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}]
    user = (ROOT / "Dockerfile").read_text().split("\nUSER ")[1].split(":")[0]
    assert (POD["securityContext"]["runAsUser"], POD["securityContext"]["runAsNonRoot"]) == (int(user), True)


def test_everything_is_selected_by_one_label() -> None:
    label = {"app": NAME}
    assert SPEC["selector"]["matchLabels"] == SPEC["template"]["metadata"]["labels"] == label
    assert OBJECTS["Service"]["spec"]["selector"] == OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == label


def test_the_service_names_each_pod_before_it_is_ready() -> None:
    service = OBJECTS["Service"]
    assert service["metadata"]["name"] == SPEC["serviceName"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
