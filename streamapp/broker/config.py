"""What a development broker is told, and the files of Kafka's that follow from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from streamapp.broker.errors import ConfigInvalid
from streamapp.broker.ports import HOST


class Profile(StrEnum):
    """What the broker is for: work at the desk, a test suite, or measurements."""

    DEV = "dev"
    TEST = "test"
    BENCH = "bench"


class Listener(StrEnum):
    """A second door beside the plain one, to try a client's security settings on."""

    SCRAM = "scram"
    """SASL_PLAINTEXT, with SCRAM-SHA-256 and SCRAM-SHA-512."""
    TLS = "tls"
    """SSL, with a certificate that Broker.ca_file vouches for."""
    SCRAM_TLS = "scram-tls"
    """SASL_SSL: both."""

    @property
    def kafka_name(self) -> str:
        return self.name.replace("_", "")

    @property
    def protocol(self) -> str:
        return {Listener.SCRAM: "SASL_PLAINTEXT", Listener.TLS: "SSL", Listener.SCRAM_TLS: "SASL_SSL"}[self]

    @property
    def has_users(self) -> bool:
        return self is not Listener.TLS

    @property
    def has_certificate(self) -> bool:
        return self is not Listener.SCRAM


# One node holds every replica: the defaults of 3 and 2 leave transactions dead there.
ONE_NODE = MappingProxyType(
    {
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "auto.create.topics.enable": "false",  # a misspelt topic is an error, not a new topic
    }
)

# Fewer partitions and shorter delays than any deployment would have: tests wait for all of them.
QUICK = MappingProxyType(
    {
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.cleaner.backoff.ms": "500",
        "log.segment.delete.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": "33554432",
        # Tests write records of long ago, and outputs inherit their time: the default of a week deletes them under a reader's eyes.
        "log.retention.ms": "-1",
    }
)

# 200 MB in all, up in 2 to 4 s; a broker that is to be measured gets what makes it fast instead.
SMALL_JVM = ("-Xms256m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
FAST_JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC")

_CREDENTIAL = re.compile(r"[A-Za-z0-9._~!@%+-]+")
"""What needs no quoting inside `--add-scram 'SCRAM-SHA-256=[name=…,password=…]'`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """How to run one development broker. Everything listens on 127.0.0.1 only."""

    data_dir: Path
    """Holds all that the broker writes: Kafka's logs, its log file, the pid. Two brokers never share one."""
    port: int = 9092
    """Port of the plain listener; 0 takes a free one, and keeps it for the life of the Broker object."""
    profile: Profile = Profile.DEV
    listeners: Mapping[Listener, int] = field(default_factory=dict)
    """Extra listeners and their ports, 0 for a free one."""
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Passwords by name, for the SCRAM listeners. Written when the data is created: to change them, reset."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Kafka's own properties; they win over the profile's."""
    start_timeout: float = 60.0
    """Seconds from the start of Kafka's process to its first answer, usually 2 to 4; downloads are not counted."""
    stop_timeout: float = 30.0
    """Seconds that a stop may take before the process is killed; usually 1 to 3."""

    def __post_init__(self) -> None:
        ports = [self.port, *self.listeners.values()]
        for port in ports:
            if not 0 <= port <= 65535:
                raise ConfigInvalid(f"port {port}: must be 0 (a free one) to 65535")
        fixed = [port for port in ports if port]
        if len(fixed) != len(set(fixed)):
            raise ConfigInvalid(f"ports {', '.join(map(str, fixed))}: each listener needs one of its own")
        if "," in str(self.data_dir):
            raise ConfigInvalid(
                f"{self.data_dir}: Kafka takes a comma in the data directory's name for two directories; choose another"
            )
        if any(listener.has_users for listener in self.listeners) and not self.users:
            raise ConfigInvalid("a SCRAM listener needs at least one user: --user NAME:PASSWORD")
        for name, password in self.users.items():
            if not _CREDENTIAL.fullmatch(name) or not _CREDENTIAL.fullmatch(password):
                raise ConfigInvalid(f"user {name!r}: name and password may hold letters, digits and ._~!@%+- only")
        for name, seconds in (("start_timeout", self.start_timeout), ("stop_timeout", self.stop_timeout)):
            if not 1 <= seconds <= 600:
                raise ConfigInvalid(f"{name}={seconds:g}: must be 1 to 600 seconds")

    @property
    def jvm_options(self) -> tuple[str, ...]:
        return FAST_JVM if self.profile is Profile.BENCH else SMALL_JVM


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports that a start settled on."""

    plain: int
    controller: int
    extra: Mapping[Listener, int]


@dataclass(frozen=True, slots=True)
class KeyStore:
    """A PKCS12 file with the broker's key, and its password."""

    path: Path
    password: str = field(repr=False)


def default_data_dir(start: Path) -> Path:
    """Return `.streamapp/broker` of the project that `start` lies in: the nearest directory upward with a pyproject.toml, else `start`."""
    start = start.absolute()
    home = next((directory for directory in (start, *start.parents) if (directory / "pyproject.toml").is_file()), start)
    return home / ".streamapp" / "broker"


def server_properties(config: BrokerConfig, ports: Ports, key_store: KeyStore | None) -> dict[str, str]:
    """Return Kafka's properties for one node that is broker and controller. `key_store` is needed by TLS listeners only."""
    doors = {"PLAINTEXT": (ports.plain, "PLAINTEXT")}
    doors |= {listener.kafka_name: (port, listener.protocol) for listener, port in ports.extra.items()}
    addresses = [f"{name}://{HOST}:{port}" for name, (port, _) in doors.items()]
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{ports.controller}",
        "listeners": ",".join([*addresses, f"CONTROLLER://{HOST}:{ports.controller}"]),
        "advertised.listeners": ",".join(addresses),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": ",".join(
            ["CONTROLLER:PLAINTEXT", *(f"{name}:{protocol}" for name, (_, protocol) in doors.items())]
        ),
        "log.dirs": str(config.data_dir / "kafka"),
        **ONE_NODE,
    }
    if config.profile is Profile.TEST:
        properties |= QUICK
    for listener in ports.extra:
        properties |= _security(listener, key_store)
    return properties | dict(config.properties)


def _security(listener: Listener, key_store: KeyStore | None) -> dict[str, str]:
    prefix = f"listener.name.{listener.kafka_name.lower()}."
    properties = {}
    if listener.has_users:
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        properties[f"{prefix}sasl.enabled.mechanisms"] = "SCRAM-SHA-256,SCRAM-SHA-512"
        properties[f"{prefix}scram-sha-256.sasl.jaas.config"] = login
        properties[f"{prefix}scram-sha-512.sasl.jaas.config"] = login
    if listener.has_certificate:
        if key_store is None:
            raise ConfigInvalid(f"listener {listener}: no key store was made for it")
        properties[f"{prefix}ssl.keystore.type"] = "PKCS12"
        properties[f"{prefix}ssl.keystore.location"] = str(key_store.path)
        properties[f"{prefix}ssl.keystore.password"] = key_store.password
    return properties


def as_file(properties: Mapping[str, str]) -> str:
    """Return the text of a Java properties file, which is Latin-1 with backslash escapes."""
    return "".join(f"{_escaped(name)}={_escaped(value)}\n" for name, value in properties.items())


def _escaped(text: str) -> str:
    units = text.replace("\\", "\\\\").replace("\n", "\\n").encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(chr(code) if 32 <= code < 127 else f"\\u{code:04x}" for code in codes)


# Three files of 10 MB at most, whatever happens. Without its own shutdown hook, which would run beside Kafka's, the log tells the
# whole of a stop. The loggers that print every setting at each start are quiet.
LOG4J2 = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR" shutdownHook="disable">
  <Appenders>
    <RollingFile name="file" fileName="${sys:streamapp.logs}/server.log" filePattern="${sys:streamapp.logs}/server.log.%i">
      <PatternLayout pattern="%d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1}: %m%n"/>
      <SizeBasedTriggeringPolicy size="10 MB"/>
      <DefaultRolloverStrategy max="2" fileIndex="min"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="file"/></Root>
    <Logger name="kafka.server.KafkaConfig" level="WARN"/>
    <Logger name="org.apache.kafka.clients" level="WARN"/>
    <Logger name="org.apache.kafka.common.config" level="WARN"/>
    <Logger name="state.change.logger" level="WARN"/>
  </Loggers>
</Configuration>
"""
