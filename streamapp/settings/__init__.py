"""What a worker is told: `load` gives one `Settings`, checked as a whole before any connection opens."""

from streamapp.settings.connection import BrokerSettings, IdentitySettings
from streamapp.settings.credentials import from_faust
from streamapp.settings.environment import Origin, handles, load, names, process_environment, values
from streamapp.settings.fields import Options, Secret, ValueRefused, variable
from streamapp.settings.owned import OWNED_OPTIONS
from streamapp.settings.rooms import (
    BreakerSettings,
    GroupSettings,
    ObserveSettings,
    ProducerSettings,
    RetrySettings,
    StreamSettings,
    TopicSettings,
    TransactionSettings,
    WebSettings,
)
from streamapp.settings.whole import ROOMS, Settings

__all__ = [
    "OWNED_OPTIONS",
    "ROOMS",
    "BreakerSettings",
    "BrokerSettings",
    "GroupSettings",
    "IdentitySettings",
    "ObserveSettings",
    "Options",
    "Origin",
    "ProducerSettings",
    "RetrySettings",
    "Secret",
    "Settings",
    "StreamSettings",
    "TopicSettings",
    "TransactionSettings",
    "ValueRefused",
    "WebSettings",
    "from_faust",
    "handles",
    "load",
    "names",
    "process_environment",
    "values",
    "variable",
]
