"""Kafka Streams: a small Java program, compiled where a JDK is at hand."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console

from streamapp.broker.java import OLDEST, version_of
from tests.benchmarks.foreign.contender import Installed, Missing, Ready
from tests.benchmarks.foreign.environment import HOME, Environment, Unavailable, progress, run_step
from tests.benchmarks.foreign.kafka_streams import jars

SOURCE: Final = Path(__file__).with_name("Jobs.java")
JVM_FLAGS: Final = ("-Xms1g", "-Xmx1g")
"""A heap that is there from the start and never tight; the collector is the JVM's own choice."""


@dataclass(frozen=True, slots=True)
class Jdk:
    """A Java that can compile: its directory of commands and its major version."""

    commands: Path
    version: int

    @property
    def java(self) -> Path:
        return self.commands / "java"

    @property
    def javac(self) -> Path:
        return self.commands / "javac"


def find_jdk(environ: Mapping[str, str]) -> Jdk:
    """Return the first JDK of STREAMAPP_JAVA, JAVA_HOME and PATH that is new enough.

    Raises Unavailable. The runtime from PyPI that the broker may run on has no compiler, so it is not looked at.
    """
    seen: list[str] = []
    for origin, java in _candidates(environ):
        version = version_of(java)
        if version is None or version < OLDEST:
            seen.append(f"{origin} has {'no Java that runs' if version is None else f'Java {version}'}")
        elif not java.with_name("javac").exists():
            seen.append(f"{origin} has Java {version} without javac")
        else:
            return Jdk(java.parent, version)
    found = f" ({', '.join(dict.fromkeys(seen))})" if seen else ""
    raise Unavailable(f"no JDK {OLDEST} or newer is at hand{found}; install one, or set JAVA_HOME")


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    # Where links lead: /usr/bin/java may point into a runtime, and /usr/bin/javac beside it into a JDK.
    for name in ("STREAMAPP_JAVA", "JAVA_HOME"):
        if named := environ.get(name):
            path = Path(named)
            yield name, (path / "bin" / "java" if path.is_dir() else path).resolve()
    for command in ("javac", "java"):  # a JDK may stand behind a runtime in the PATH
        if found := shutil.which(command, path=environ.get("PATH", os.defpath)):
            yield "PATH", Path(found).resolve().with_name("java")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaStreams:
    name: str = "Kafka Streams"
    promise: str = "exactly once"
    jobs: tuple[str, ...] = ("dedupe", "map")
    records_share: float = 1.0
    home: Path = HOME / "kafka-streams"
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def prepare(self, console: Console) -> Ready | Missing:
        try:
            jdk = find_jdk(self.environ)
            self._download(console)
            self._compile(jdk, console)
        except Unavailable as cause:
            return Missing(str(cause))
        except OSError as cause:
            return Missing(f"nothing can be kept in {self.home}: {cause.strerror or cause}")
        return self.ready(jdk)

    def ready(self, jdk: Jdk) -> Installed:
        start = (str(jdk.java), *JVM_FLAGS, "-cp", self._class_path, "Jobs")
        versions = {name: jars.version_of(name) for name in ("kafka-streams", "rocksdbjni", "jackson-databind")}
        versions |= {"Java": str(jdk.version), "JVM flags": " ".join(JVM_FLAGS)}
        return Installed({job: (*start, job) for job in self.jobs}, versions)

    def group(self, app_id: str) -> str:
        return app_id  # the application id is the group

    def _download(self, console: Console) -> None:
        downloaded = Environment(self.home / "jars", jars.fingerprint())
        if downloaded.is_ready():
            return
        downloaded.begin()
        command = (sys.executable, "-m", jars.__name__, "into", str(self._libs))
        with progress(console, f"downloading Kafka Streams {jars.VERSION} (97 MB) into {downloaded.home}, once") as told:
            run_step(command, "downloading Kafka Streams", downloaded.home / "install.log", told)
        downloaded.finish()

    def _compile(self, jdk: Jdk, console: Console) -> None:
        source = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
        compiled = Environment(self.home / "classes", f"{source}\n{jars.fingerprint()}\n{jdk.version}")
        if compiled.is_ready():
            return
        compiled.begin()
        command = (str(jdk.javac), "-d", str(compiled.home), "-cp", f"{self._libs}/*", str(SOURCE))
        with progress(console, f"compiling {SOURCE.name} with {jdk.javac}") as told:
            run_step(command, f"compiling {SOURCE.name}", compiled.home / "install.log", told)
        compiled.finish()

    @property
    def _libs(self) -> Path:
        return self.home / "jars" / "libs"

    @property
    def _class_path(self) -> str:
        return os.pathsep.join((str(self.home / "classes"), f"{self._libs}/*"))
