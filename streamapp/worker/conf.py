"""Faust's own settings, fed from ours: its environment variables, defaults and foreign classes never act."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import faust

from streamapp.errors import SettingInvalid
from streamapp.settings import Settings, handles
from streamapp.worker.agents import Agent
from streamapp.worker.events import Event
from streamapp.worker.lifecycle import Worker
from streamapp.worker.refusals import refuse
from streamapp.worker.stream import Stream
from streamapp.worker.tables import Table
from streamapp.worker.topics import Topic

OURS: Final[Mapping[str, type]] = {
    "Agent": Agent,
    "Event": Event,
    "Stream": Stream,
    "Table": Table,
    "Topic": Topic,
    "Worker": Worker,
}
"""Faust's class settings whose class has to be ours, or derive from it."""
REPLACED: Final = ("TableManager", "PartitionAssignor", "LeaderAssignor", "SetTable", "GlobalTable", "SetGlobalTable", "Router")
"""Class settings of parts that the engine replaces whole."""
TRANSPORTS: Final = ("transport", "broker_consumer", "broker_producer")
CREDENTIALS: Final = ("broker_credentials", "ssl_context")


class Conf(faust.Settings):
    """`app.conf`: what Faust's own parts (web, timers, commands) read."""

    def getenv(self, env_name: str) -> Any:
        # Stock reads 79 unprefixed names, and they beat code.
        return None


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an app's options as (ours, Faust's). Raises SettingInvalid for a name that nobody knows, Unsupported for some."""
    ours: dict[str, Any] = {}
    fausts: dict[str, Any] = {}
    known = {name for name, setting in faust.Settings.SETTINGS.items() if setting.active}
    for name, value in options.items():
        if name == "web_in_thread" and value:
            refuse(
                "web_in_thread=True", "pages read tables, which belong to the event loop; /livez is answered by a thread anyway"
            )
        if name in TRANSPORTS:
            refuse(f"{name}=", "Kafka is the only transport; name it with broker=")
        if name in REPLACED:
            refuse(f"{name}=", "the engine replaces that part")
        if name in OURS:
            _require_ours(name, value)
        if handles(name):
            ours[name] = value
        elif name in known or name in CREDENTIALS:
            fausts[name] = value
        else:
            near = difflib.get_close_matches(name, known, n=1)
            raise SettingInvalid(
                f"StreamApp({name}=…): no setting has that name" + (f"; did you mean {near[0]}?" if near else "")
            )
    return ours, fausts


def _require_ours(name: str, value: Any) -> None:
    if not (isinstance(value, type) and issubclass(value, OURS[name])):
        refuse(f"{name}={value!r}", f"derive it from streamapp's own: class Mine({OURS[name].__module__}.{name})")


def conf_of(settings: Settings, fausts: Mapping[str, Any]) -> Conf:
    """Return Faust's settings for an app."""
    values: dict[str, Any] = {
        "broker": [f"kafka://{host}" for host in settings.broker.broker.split(",")],
        "datadir": settings.identity.directory,
        "store": settings.stream.store,
        "stream_buffer_maxsize": settings.stream.stream_buffer_maxsize,
        "topic_partitions": settings.topics.topic_partitions,
        "topic_allow_declare": settings.topics.topic_allow_declare,
        "processing_guarantee": settings.transaction.processing_guarantee,
        "debug": settings.observe.debug,
        "web_bind": settings.web.web_bind,
        "web_host": "127.0.0.1" if settings.web.web_bind == "127.0.0.1" else None,
        "web_stats_enabled": False,
        "web_graph_enabled": False,
        "autodiscover": False,
        **{name: value for name, value in fausts.items() if name not in ("version", *CREDENTIALS)},
        # Whatever code says: ours are at /table/, and obey web_show_values; the router asks Faust's assignor.
        "web_tables_enabled": False,
        "web_router_enabled": False,
        **OURS,
        **{name: value for name, value in fausts.items() if name in OURS},
    }
    if settings.web.web_port:
        values["web_port"] = settings.web.web_port
    if settings.web.web_url:
        values["canonical_url"] = settings.web.web_url
    return Conf(settings.identity.app_id, env={}, **{name: value for name, value in values.items() if value is not None})


__all__ = ["Conf", "conf_of", "split"]
