"""Faust's credential objects, as settings of ours. Read by shape, so that nothing here imports Faust."""

from __future__ import annotations

import ssl
from typing import Final

from streamapp.errors import SettingInvalid

_INSTEAD: Final = (
    "librdkafka cannot take it: set STREAMAPP_SSL_CA_LOCATION, STREAMAPP_SSL_CERTIFICATE_LOCATION and STREAMAPP_SSL_KEY_LOCATION"
)


def from_faust(credentials: object, ssl_context: object = None) -> dict[str, object]:
    """Return the settings that `broker_credentials=` and `ssl_context=` of Faust mean, for `load`'s `code`.

    None and None give none. A default context means the system's authorities. Raises SettingInvalid for what cannot be handed to
    librdkafka: a context that trusts authorities of its own or checks nothing, GSSAPI, a token provider in Python.
    """
    if credentials is None and ssl_context is None:
        return {}
    kind = type(credentials).__name__
    context = _context(credentials, ssl_context)
    encrypted = context is not None or kind == "SSLCredentials"
    identification = _identification(context)
    found: dict[str, object] = {"ssl_endpoint_identification": identification} if encrypted else {}
    if credentials is None or kind == "SSLCredentials":
        return found | {"security_protocol": "ssl"}
    if kind != "SASLCredentials":
        raise SettingInvalid(
            f"broker_credentials={kind}: must be SASLCredentials or SSLCredentials; for tokens set "
            "STREAMAPP_SASL_MECHANISM=OAUTHBEARER and STREAMAPP_BROKER_OPTIONS (sasl.oauthbearer.method=oidc and its own)"
        )
    return found | {
        "security_protocol": "sasl_ssl" if encrypted else "sasl_plaintext",
        "sasl_mechanism": getattr(credentials, "mechanism", None),
        "sasl_username": getattr(credentials, "username", None),
        "sasl_password": getattr(credentials, "password", None),
    }


def _context(credentials: object, ssl_context: object) -> ssl.SSLContext | None:
    own = getattr(credentials, "ssl_context", None) or getattr(credentials, "context", None) or ssl_context
    if own is None or isinstance(own, ssl.SSLContext):
        return own
    raise SettingInvalid(f"ssl_context={type(own).__name__}: must be an ssl.SSLContext")


def _identification(context: ssl.SSLContext | None) -> str:
    """Return what the context checks, where librdkafka can check the same.

    A context does not tell whether it holds a client certificate: that one cannot be refused here, the broker will.
    """
    if context is None:
        return "https"
    if context.verify_mode != ssl.CERT_REQUIRED:
        raise SettingInvalid(f"ssl_context: does not verify the broker's certificate; {_INSTEAD}")
    loaded = {bytes(authority) for authority in context.get_ca_certs(binary_form=True)}
    if loaded - {bytes(authority) for authority in ssl.create_default_context().get_ca_certs(binary_form=True)}:
        raise SettingInvalid(f"ssl_context: trusts authorities of its own; {_INSTEAD}")
    return "https" if context.check_hostname else "none"
