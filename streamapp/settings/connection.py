"""Who the worker is, where its cluster is, and how it proves itself there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streamapp.settings.fields import (
    NAME_CHARACTERS,
    NAME_PATTERN,
    Options,
    Secret,
    ValueRefused,
    read_lower,
    read_upper,
    require,
    require_choice,
    require_file,
    require_match,
    require_path,
    require_secret,
    text_of,
    variable,
)
from streamapp.settings.owned import OWNED_OPTIONS

DEFAULT_PORT: Final = 9092
_BROKER_SCHEMES: Final = ("kafka://", "confluent://")
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


def read_brokers(value: object) -> object:
    """Return `host:port,host:port` of a text, URL or list; the value as it came where it is none of these."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    hosts = [_host_and_port(piece) for part in parts for piece in re.split("[,;]", text_of(part))]
    return value if None in hosts else ",".join(filter(None, hosts))


def _host_and_port(text: str) -> str | None:
    host = text.strip()
    for scheme in _BROKER_SCHEMES:
        host = host.removeprefix(scheme)
    match = _HOST_AND_PORT.fullmatch(host.rstrip("/"))
    if match is None or not 0 < int(match[2] or DEFAULT_PORT) <= 65535:
        return None
    return f"{match[1]}:{int(match[2] or DEFAULT_PORT)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """Who this worker is."""

    app_id: str
    """The consumer group, and the prefix of internal topics and transactional ids. 1 to 100 of `A-Z a-z 0-9 . _ -`: it is part of
    topic names, which allow no more."""
    worker_id: str | None = None
    """Stable name of this worker, the same after a restart; 1 to 100 of `A-Z a-z 0-9 . _ -`. None: a UUID kept in the data
    directory."""
    data_dir: Path | None = None
    """Where tables and the worker id live; one live worker per directory. None: `.streamapp/<app id>/<worker id>`, or `…/default`
    when no worker id is given."""
    app_version: str | None = None
    """What dead letters, metrics and the trend of lag call this release; up to 100 characters. None: the project's version."""

    def __post_init__(self) -> None:
        require_match("app_id", self.app_id, NAME_PATTERN, NAME_CHARACTERS)
        require_match("worker_id", self.worker_id, NAME_PATTERN, NAME_CHARACTERS, optional=True)
        require_path("data_dir", self.data_dir)
        require_match("app_version", self.app_version, r"[ -~]{1,100}", "1 to 100 printable ASCII characters", optional=True)

    @property
    def directory(self) -> Path:
        """The data directory, derived where none is set."""
        return self.data_dir or Path(".streamapp") / _folder(self.app_id) / _folder(self.worker_id or "default")


def _folder(name: str) -> str:
    # The names `.` and `..` are allowed, and must not walk out of the directory; % is in no name, so nothing collides.
    return name if name.strip(".") else name.replace(".", "%2E")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """Where the cluster is, and how we prove who we are."""

    broker: str = field(default="127.0.0.1:9092", metadata={"read": read_brokers})
    """`host:port[,host:port…]`; `kafka://` and `confluent://` prefixes, lists and URLs are accepted, a missing port is 9092. The
    default is the development broker's."""
    start_timeout: float = 60.0
    """Seconds that a start waits for the first answer of a broker before it gives up (exit 3), 1 to 3600. A broker restart takes
    less than the default; later the worker waits for ever."""
    security_protocol: str = field(default="plaintext", metadata={"read": read_lower})
    """`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`."""
    sasl_mechanism: str | None = field(default=None, metadata={"read": read_upper})
    """`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER` (its options by `broker_options`); with a `sasl_…` protocol
    only."""
    sasl_username: str | None = None
    """User name for PLAIN and SCRAM."""
    sasl_password: Secret | None = None
    """Password for PLAIN and SCRAM; `STREAMAPP_SASL_PASSWORD_FILE` names a file that holds it instead."""
    ssl_ca_location: Path | None = None
    """File or folder of the authorities to trust, or `probe`. None: the system's."""
    ssl_certificate_location: Path | None = None
    """File with the client's certificate (PEM). None: the broker does not ask for one."""
    ssl_key_location: Path | None = None
    """File with the key of the client's certificate (PEM)."""
    ssl_key_password: Secret | None = None
    """What the key is encrypted with; `STREAMAPP_SSL_KEY_PASSWORD_FILE` names a file that holds it instead."""
    ssl_endpoint_identification: str = field(default="https", metadata={"read": read_lower})
    """`https` checks that the certificate names the host that we called, `none` does not."""
    broker_options: Options = field(default_factory=Options)
    """Raw librdkafka options of every client, e.g. `{"client.rack": "a"}`. What the engine owns is refused by name."""
    consumer_options: Options = field(default_factory=Options)
    """Raw librdkafka options of consumers, over ours. What the engine owns is refused by name."""
    producer_options: Options = field(default_factory=Options)
    """Raw librdkafka options of producers, over ours. What the engine owns is refused by name."""

    def __post_init__(self) -> None:
        if not isinstance(self.broker, str) or any(_host_and_port(host) != host for host in self.broker.split(",")):
            # What was given may hold a password (user:password@host), so it is not repeated then.
            given = "***" if "@" in text_of(self.broker) else self.broker
            hint = "; user and password go to sasl_username and sasl_password" if "@" in text_of(self.broker) else ""
            raise ValueRefused("broker", given, f"must be host:port[,host:port…], ports 1 to 65535{hint}")
        require("start_timeout", self.start_timeout, low=1, high=3600)
        require_choice("security_protocol", self.security_protocol, ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"))
        mechanisms = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
        require_choice("sasl_mechanism", self.sasl_mechanism, mechanisms, optional=True)
        require_match("sasl_username", self.sasl_username, r"[^\x00]+", "a text that is not empty", optional=True)
        require_secret("sasl_password", self.sasl_password)
        require_file("ssl_ca_location", self.ssl_ca_location, or_words=("probe",))
        require_file("ssl_certificate_location", self.ssl_certificate_location)
        require_file("ssl_key_location", self.ssl_key_location)
        require_secret("ssl_key_password", self.ssl_key_password)
        require_choice("ssl_endpoint_identification", self.ssl_endpoint_identification, ("https", "none"))
        self._require_sasl_whole()
        for name in ("broker_options", "consumer_options", "producer_options"):
            _require_options(name, getattr(self, name))

    def _require_sasl_whole(self) -> None:
        if not self.security_protocol.startswith("sasl_"):
            for name in ("sasl_mechanism", "sasl_username", "sasl_password"):
                if getattr(self, name) is not None:
                    shown = "***" if name == "sasl_password" else getattr(self, name)
                    raise ValueRefused(name, shown, "must go with security_protocol sasl_ssl or sasl_plaintext")
            return
        if self.sasl_mechanism is None:
            raise ValueRefused("security_protocol", self.security_protocol, f"must go with {variable('sasl_mechanism')}")
        if self.sasl_mechanism != "OAUTHBEARER" and (self.sasl_username is None or self.sasl_password is None):
            must = f"must go with {variable('sasl_username')} and {variable('sasl_password')}"
            raise ValueRefused("sasl_mechanism", self.sasl_mechanism, must)


def _require_options(name: str, options: object) -> None:
    if not isinstance(options, Options):
        raise ValueRefused(name, "…", 'must be librdkafka options: {"name": "value"} or name=value,name=value')
    for option in options:
        if option in OWNED_OPTIONS:
            raise ValueRefused(name, f"{option}=…", f"must not set {option}: it {OWNED_OPTIONS[option]}")
