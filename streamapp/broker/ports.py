"""Free and taken ports on 127.0.0.1, the only address that the development broker listens on."""

from __future__ import annotations

import random
import socket
from collections.abc import Container

from streamapp.broker.errors import PortTaken

HOST = "127.0.0.1"

FREE_PORTS = range(20000, 32000)
"""Below what Linux (32768 up) and macOS (49152 up) give to outgoing connections: a client that keeps knocking at a stopped
broker's port in that range can connect to itself, and the broker then cannot have its port back."""


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now. Raises PortTaken: this user may not, whoever else does."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)) == 0:  # macOS would let us bind beside a listener on all addresses
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: connections of a former broker do not count
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise PortTaken(
                f"port {port} on {HOST}: this user may not listen there; choose another with --port (0: a free one)"
            ) from None
        except OSError:
            return False
    return True


def pick_free(taken: Container[int] = ()) -> int:
    """Return a port that is free now and not in `taken`. Raises PortTaken: none of 200 tried is."""
    for port in random.sample(FREE_PORTS, 200):
        if port not in taken and is_free(port):
            return port
    raise PortTaken(f"no free port found on {HOST} from {FREE_PORTS.start} to {FREE_PORTS.stop - 1}")
