"""Faust's credentials mean settings of ours, or are refused with the setting to use."""

import ssl

import faust
import pytest
from faust.auth import GSSAPICredentials

from streamapp.errors import SettingInvalid
from streamapp.settings import from_faust, load


def test_none_is_none() -> None:
    assert from_faust(None) == {}


def test_user_and_password_travel_in_clear_or_encrypted() -> None:
    plain = from_faust(faust.SASLCredentials(username="u", password="p", mechanism="PLAIN"))
    assert load({"app_id": "shop"} | plain, {}, {}).broker.security_protocol == "sasl_plaintext"
    context = ssl.create_default_context()
    for found in (
        from_faust(faust.SASLCredentials(username="u", password="p", ssl_context=context)),
        from_faust(faust.SASLCredentials(username="u", password="p"), context),
    ):
        broker = load({"app_id": "shop"} | found, {}, {}).broker
        assert (broker.security_protocol, broker.sasl_mechanism, broker.sasl_username) == ("sasl_ssl", "PLAIN", "u")
        assert broker.sasl_password is not None
        assert broker.sasl_password.reveal() == "p"


def test_encryption_alone() -> None:
    context = ssl.create_default_context()
    assert from_faust(None, context) == {"security_protocol": "ssl", "ssl_endpoint_identification": "https"}
    context.check_hostname = False
    assert from_faust(None, context)["ssl_endpoint_identification"] == "none"

    class SSLCredentials:
        context = None

    assert from_faust(SSLCredentials())["security_protocol"] == "ssl"


def test_what_librdkafka_cannot_take_is_refused() -> None:
    blind = ssl.create_default_context()
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    with pytest.raises(SettingInvalid, match="STREAMAPP_SSL_CA_LOCATION"):
        from_faust(None, blind)
    with pytest.raises(SettingInvalid, match="GSSAPICredentials"):
        from_faust(GSSAPICredentials())
    with pytest.raises(SettingInvalid, match="must be an ssl"):
        from_faust(None, object())


def test_authorities_of_its_own_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(ssl.SSLContext):
        def get_ca_certs(self, binary_form: bool = False) -> list[bytes]:  # type: ignore[override]  # the one form that is asked for
            return [b"mine"]

    context = Own(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(SettingInvalid, match="authorities of its own"):
        from_faust(None, context)
