"""Kafka's protocol where the client library makes no request of it: bytes out and in, one connection each, over TLS and SASL too.

Source: Kafka protocol guide, SaslHandshake v1, SaslAuthenticate v0; SCRAM is RFC 5802 and RFC 7677.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from streamapp.errors import SettingInvalid
from streamapp.settings import BrokerSettings, variable

SASL_HANDSHAKE, SASL_AUTHENTICATE = 17, 36
LARGEST_ANSWER_BYTES: Final = 64 * 1024 * 1024
_CLIENT: Final = b"streamapp"
_SCRAM: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}

Address = tuple[str, int]
T = TypeVar("T")


class NotTold(OSError):
    """The broker answered with a refusal, or not in this protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a connection proves who we are, and whom it trusts."""

    tls: ssl.SSLContext | None = None
    mechanism: str | None = None
    username: str = ""
    password: str = field(default="", repr=False)


PLAIN: Final = Access()


def access_of(broker: BrokerSettings) -> Access:
    """Return what these settings mean. Raises SettingInvalid: a way in that only the client library has, or files that do not load."""
    mechanism = broker.sasl_mechanism if broker.security_protocol.startswith("sasl_") else None
    if mechanism not in (None, "PLAIN", *_SCRAM):
        raise SettingInvalid(
            f"STREAMAPP_SASL_MECHANISM={mechanism}: open transactions can be asked for with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 only; "
            "kafka-transactions.sh does it with others"
        )
    return Access(
        tls=_trust(broker) if broker.security_protocol.endswith("ssl") else None,
        mechanism=mechanism,
        username=broker.sasl_username or "",
        password="" if broker.sasl_password is None else broker.sasl_password.reveal(),
    )


def _trust(broker: BrokerSettings) -> ssl.SSLContext:
    location, ours = broker.ssl_ca_location, broker.ssl_certificate_location
    password = None if broker.ssl_key_password is None else broker.ssl_key_password.reveal()
    name = "ssl_ca_location"
    try:
        if location is None or str(location) == "probe":
            context = ssl.create_default_context()
        elif location.is_dir():
            context = ssl.create_default_context(capath=str(location))
        else:
            context = ssl.create_default_context(cafile=str(location))
        context.check_hostname = broker.ssl_endpoint_identification == "https"
        if ours is not None:
            name = "ssl_certificate_location"
            context.load_cert_chain(str(ours), _path(broker.ssl_key_location), password)
    except (OSError, ValueError) as refused:
        raise SettingInvalid(f"{variable(name)}={getattr(broker, name)}: does not load: {refused}") from refused
    return context


def _path(path: object) -> str | None:
    return None if path is None else str(path)


class Writer:
    """Builds a flexible request: compact arrays and strings, empty tagged fields."""

    def __init__(self) -> None:
        self.data = bytearray()

    def unsigned(self, number: int) -> None:
        while number > 0x7F:
            self.data.append(number & 0x7F | 0x80)
            number >>= 7
        self.data.append(number)

    def fixed(self, form: str, *numbers: int) -> None:
        self.data += struct.pack(form, *numbers)

    def text(self, text: str) -> None:
        raw = text.encode()
        self.unsigned(len(raw) + 1)
        self.data += raw

    def no_tags(self) -> None:
        self.data.append(0)

    def array(self, items: Iterable[T], write: Callable[[T], None]) -> None:
        """Write a compact array whose items are `write`'s."""
        whole = list(items)
        self.unsigned(len(whole) + 1)
        for item in whole:
            write(item)


class Reader:
    """Takes a flexible answer apart. Raises NotTold: it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fixed(self, form: str) -> int:
        size = struct.calcsize(form)
        try:
            (value,) = struct.unpack_from(form, self._data, self._at)
        except struct.error as cause:
            raise NotTold("the answer ends too early") from cause
        self._at += size
        return int(value)

    def unsigned(self) -> int:
        number = shift = 0
        while True:
            part = self.fixed(">B")
            number |= (part & 0x7F) << shift
            if part < 0x80:
                return number
            shift += 7

    def text(self) -> str:
        return self._bytes(max(self.unsigned() - 1, 0)).decode(errors="replace")

    def count(self) -> int:
        return max(self.unsigned() - 1, 0)

    def tags(self) -> None:
        for _ in range(self.unsigned()):
            self.unsigned()
            self._at += self.unsigned()

    def old_text(self) -> str:
        """Read a string as it was before protocols were flexible; null is empty."""
        return self._bytes(max(self.fixed(">h"), 0)).decode(errors="replace")

    def old_bytes(self) -> bytes:
        return self._bytes(max(self.fixed(">i"), 0))

    def _bytes(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]


def ask(broker: Address, key: int, version: int, body: Writer, timeout: float, access: Access = PLAIN) -> Reader:
    """Send one flexible request, and return its answer behind the header. Raises OSError: refused, not understood, or silent."""
    with _connected(broker, timeout, access) as connection:
        # Header v2: the client's name is not compact, whatever the rest is.
        answer = _exchange(connection, broker, key, version, b"\x00" + bytes(body.data))
    answer.tags()
    return answer


def _connected(broker: Address, timeout: float, access: Access) -> socket.socket:
    connection = socket.create_connection(broker, timeout)
    try:
        connection.settimeout(timeout)
        if access.tls is not None:
            connection = access.tls.wrap_socket(connection, server_hostname=broker[0])
        if access.mechanism is not None:
            _prove(connection, broker, access)
    except BaseException:
        connection.close()
        raise
    return connection


def _exchange(connection: socket.socket, broker: Address, key: int, version: int, body: bytes) -> Reader:
    """Send the body behind its header, and return the answer behind its correlation id: one request, one answer."""
    request = struct.pack(">hhih", key, version, 1, len(_CLIENT)) + _CLIENT + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _receive(connection, 4))
    if not 0 < size <= LARGEST_ANSWER_BYTES:
        raise NotTold(f"{broker[0]}:{broker[1]} does not speak Kafka's protocol")
    answer = Reader(_receive(connection, size))
    answer.fixed(">i")
    return answer


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise NotTold("the broker closed the connection: it does not know the request, or asks for TLS or SASL")
        received += part
    return bytes(received)


# --- SASL


def _prove(connection: socket.socket, broker: Address, access: Access) -> None:
    mechanism = access.mechanism or ""
    answer = _exchange(connection, broker, SASL_HANDSHAKE, 1, struct.pack(">h", len(mechanism)) + mechanism.encode())
    if answer.fixed(">h"):
        raise NotTold(f"{broker[0]}:{broker[1]} does not take {mechanism}")

    def authenticate(data: bytes) -> bytes:
        told = _exchange(connection, broker, SASL_AUTHENTICATE, 0, struct.pack(">i", len(data)) + data)
        refused, why = told.fixed(">h"), told.old_text()
        if refused:
            raise NotTold(f"{broker[0]}:{broker[1]} does not let {access.username} in: {why or refused}")
        return told.old_bytes()

    if mechanism == "PLAIN":
        authenticate(f"\0{access.username}\0{access.password}".encode())
    else:
        _by_scram(_SCRAM[mechanism], access, authenticate)


def _by_scram(digest: str, access: Access, authenticate: Callable[[bytes], bytes]) -> None:
    name = access.username.replace("=", "=3D").replace(",", "=2C")
    nonce = secrets.token_urlsafe(24)
    first = f"n={name},r={nonce}"
    challenge = authenticate(f"n,,{first}".encode()).decode()
    told = dict(part.split("=", 1) for part in challenge.split(",") if "=" in part)
    if not told.get("r", "").startswith(nonce) or "s" not in told or not told.get("i", "").isdigit():
        raise NotTold("the broker's SCRAM challenge is none")
    salted = hashlib.pbkdf2_hmac(digest, access.password.encode(), base64.b64decode(told["s"]), int(told["i"]))
    final = f"c=biws,r={told['r']}"
    signed = f"{first},{challenge},{final}".encode()
    client = hmac.digest(salted, b"Client Key", digest)
    signature = hmac.digest(hashlib.new(digest, client).digest(), signed, digest)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client, signature, strict=True))).decode()
    verdict = authenticate(f"{final},p={proof}".encode()).decode()
    server = base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", digest), signed, digest)).decode()
    if verdict != f"v={server}":
        raise NotTold("the broker does not know the password either: it is not who it says it is")


__all__ = ["PLAIN", "Access", "Address", "NotTold", "Reader", "Writer", "access_of", "ask"]
