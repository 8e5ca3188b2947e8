"""What can go wrong with the development broker; each message is one line that names the fix.

BrokerError
├── BrokerRefused     the command cannot be done as asked: exit 2     ConfigInvalid PortTaken JavaUnusable KafkaUnavailable
│                                                                     DiskFull
├── BrokerDown        there is no broker that answers: exit 3         BrokerDied BrokerSilent
└── GuardRefused      data that is not this broker's own: exit 5
"""

from __future__ import annotations

from typing import ClassVar

from streamapp.errors import StreamAppError


class BrokerError(StreamAppError):
    """The development broker could not do what was asked."""

    exit_code: ClassVar[int] = 1
    """What a command that ends with this error exits with."""


class BrokerRefused(BrokerError):
    """The development broker cannot be started as asked."""

    exit_code = 2


class ConfigInvalid(BrokerRefused):
    """A setting of the development broker is outside what it allows."""


class PortTaken(BrokerRefused):
    """Another process listens on a port that the broker was to have."""


class JavaUnusable(BrokerRefused):
    """There is no Java runtime of version 17 or newer."""


class KafkaUnavailable(BrokerRefused):
    """Kafka's jars are neither on this machine nor could they be downloaded."""


class DiskFull(BrokerRefused):
    """There is too little disk space."""


class BrokerDown(BrokerError):
    """No broker answers."""

    exit_code = 3


class BrokerDied(BrokerDown):
    """The broker's process ended by itself."""


class BrokerSilent(BrokerDown):
    """The broker's process runs, but did not answer in time."""


class GuardRefused(BrokerError):
    """The directory is not a broker's data, so nothing in it is touched."""

    exit_code = 5
