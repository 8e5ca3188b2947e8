"""Requests of our own go the way that the settings name; a way that only the client library has is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamapp.errors import SettingInvalid
from streamapp.kafka.wire import access_of
from streamapp.settings import load


def of(**given: object) -> object:
    return access_of(load({"app_id": "shop", **given}, {}, {}).broker)


def test_a_plain_cluster_needs_no_proof() -> None:
    access = access_of(load({"app_id": "shop"}, {}, {}).broker)
    assert (access.tls, access.mechanism) == (None, None)


def test_oauthbearer_is_refused_with_the_tool_that_has_it() -> None:
    with pytest.raises(SettingInvalid, match=r"STREAMAPP_SASL_MECHANISM=OAUTHBEARER: .*PLAIN, SCRAM.*kafka-transactions.sh"):
        of(security_protocol="sasl_ssl", sasl_mechanism="OAUTHBEARER")


def test_a_password_is_in_no_repr() -> None:
    access = of(security_protocol="sasl_ssl", sasl_mechanism="PLAIN", sasl_username="ann", sasl_password="hunter2")
    assert "hunter2" not in repr(access) and "ann" in repr(access)


def test_an_authority_that_does_not_load_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(SettingInvalid, match=f"STREAMAPP_SSL_CA_LOCATION={file}: does not load"):
        of(security_protocol="ssl", ssl_ca_location=str(file))


def test_the_host_is_not_checked_only_where_that_is_set() -> None:
    checked = access_of(load({"app_id": "shop", "security_protocol": "ssl"}, {}, {}).broker)
    assert checked.tls is not None and checked.tls.check_hostname
    unchecked = access_of(
        load({"app_id": "shop", "security_protocol": "ssl", "ssl_endpoint_identification": "none"}, {}, {}).broker
    )
    assert unchecked.tls is not None and not unchecked.tls.check_hostname
