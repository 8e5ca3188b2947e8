"""A certificate for 127.0.0.1, made by the Java runtime's own keytool, and its PEM for clients."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

from streamapp.broker.config import KeyStore
from streamapp.broker.errors import JavaUnusable
from streamapp.broker.java import Java
from streamapp.broker.ports import HOST

CA_FILE = "ca.pem"


def ensure_key_store(directory: Path, java: Java) -> KeyStore:
    """Return the key store in `directory`, made now if it is not there; `ca.pem` beside it is what clients have to trust.

    The certificate signs itself, so it is its own authority; it is good for 127.0.0.1 and localhost. Raises JavaUnusable.
    """
    password_file = directory / "password"
    key_store = directory / "broker.p12"
    if not (directory / CA_FILE).exists():  # written last
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, mode=0o700)
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_hex(16))
        store = ["-keystore", str(key_store), "-storetype", "PKCS12", "-storepass:file", str(password_file), "-alias", "broker"]
        made = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650", "-dname", "CN=streamapp development broker"]
        # Without ca:true, OpenSSL refuses to take it for an authority.
        names = ["-ext", f"san=ip:{HOST},dns:localhost", "-ext", "bc:c=ca:true"]
        _keytool(java, "-genkeypair", *store, *made, *names)
        certificate = _keytool(java, "-exportcert", "-rfc", *store)
        (directory / f"{CA_FILE}.new").write_text(certificate)
        (directory / f"{CA_FILE}.new").rename(directory / CA_FILE)
    return KeyStore(key_store, password_file.read_text())


def _keytool(java: Java, *arguments: str) -> str:
    # English, since some locales have keytool print dates that it cannot read.
    command = [str(java.keytool), "-J-Duser.language=en", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except FileNotFoundError as cause:
        raise JavaUnusable(f"{java.executable} ({java.origin}): no keytool beside it, and a TLS listener needs one") from cause
    except (OSError, subprocess.SubprocessError) as cause:
        said = (getattr(cause, "stderr", None) or getattr(cause, "stdout", None) or str(cause)).strip()
        raise JavaUnusable(f"{java.keytool}: could not make a certificate: {said}") from cause
