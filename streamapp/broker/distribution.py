"""Kafka's jars: the user's own installation, or the pinned ones from Maven Central, downloaded once.

`kafka.lock` holds one line per jar, its SHA-256 and its coordinates, so that what runs is what was tested, a damaged download
is noticed, and the progress has an end. `python -m streamapp.broker.distribution` resolves KAFKA anew and prints such a file.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamapp.broker.errors import DiskFull, KafkaUnavailable

if TYPE_CHECKING:
    from jgo.maven import MavenContext

VERSION = "4.2.0"
"""Not 4.3.0 to 4.4.0: there an unclean restart of the only broker can leave transactions open for ever (KAFKA-20734)."""

KAFKA = (
    f"org.apache.kafka:kafka_2.13:{VERSION}",
    f"org.apache.kafka:kafka-clients:{VERSION}",  # log4j's dependency management would pull another version of it
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",  # Kafka's POM names no logging backend
    "org.apache.logging.log4j:log4j-core:2.25.5",
)
TRAPPED = ("4.3.0", "4.3.1", "4.4.0")
NEEDED_BYTES = 150 * 1024 * 1024
"""The jars take 43 MB; once more while they are moved into place, and some room."""

DOWNLOADS = 4
"""At a time; more gain nothing measurable (46 small files) and look like abuse to a mirror."""

LOCK_WAIT = 300.0
"""Seconds to wait for another process that is downloading the same jars; such a download takes 10 to 40 s."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock file."""

    sha256: str
    coordinates: str

    @property
    def file_name(self) -> str:
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True, slots=True)
class Distribution:
    """Kafka's jars on this machine."""

    version: str
    libs: Path
    """The directory that holds the jars, and only jars that belong on the class path."""

    @property
    def class_path(self) -> str:
        return str(self.libs / "*")

    @property
    def warning(self) -> str | None:
        """What the user should know about this version, or None."""
        if self.version in TRAPPED:
            return (
                f"Kafka {self.version} can leave transactions open for ever after an unclean restart of the only broker "
                f"(KAFKA-20734); unset KAFKA_HOME to use {VERSION}"
            )
        return None


def pinned_jars() -> list[Jar]:
    lines = Path(__file__).with_name("kafka.lock").read_text(encoding="utf-8").splitlines()
    return [Jar(*line.split()) for line in lines if line and not line.startswith("#")]


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return where downloads are kept: XDG_CACHE_HOME, else ~/Library/Caches on macOS and ~/.cache elsewhere."""
    if named := environ.get("XDG_CACHE_HOME"):
        return Path(named) / "streamapp"
    home = Path(environ.get("HOME") or Path.home())
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "streamapp"


def _of_home(home: Path) -> Distribution:
    found = sorted((home / "libs").glob("kafka_2.1*-*.jar"))
    named = [jar.stem.partition("-")[2] for jar in found]
    versions = [name for name in named if name.replace(".", "").isdigit()]
    if not versions:
        raise KafkaUnavailable(
            f"KAFKA_HOME={home}: no libs/kafka_2.13-<version>.jar there; correct it, or unset it to download Kafka"
        )
    if int(versions[0].partition(".")[0]) < 4:
        raise KafkaUnavailable(
            f"KAFKA_HOME={home}: this is Kafka {versions[0]}, 4.0 or newer is needed; unset it to use {VERSION}"
        )
    return Distribution(versions[0], home / "libs")


def require_space(directory: Path, needed_bytes: int, what: str) -> None:
    """Raise DiskFull unless the file system of `directory`, which must exist, has this much left."""
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        megabytes = 1024 * 1024
        raise DiskFull(f"{directory}: {what} needs {needed_bytes // megabytes} MB, {free // megabytes} MB are free; make room")


def find_kafka(environ: Mapping[str, str], progress: Progress) -> Distribution:
    """Return KAFKA_HOME's Kafka, else the cached jars, else download them first.

    Once this has returned, the next call needs no network. STREAMAPP_MAVEN_REPOSITORY names a mirror to download from.
    Raises KafkaUnavailable, DiskFull.
    """
    if home := environ.get("KAFKA_HOME"):
        return _of_home(Path(home))
    cache = cache_directory(environ)
    target = cache / f"kafka-{VERSION}"
    if not is_complete(target):
        try:
            cache.mkdir(parents=True, exist_ok=True)
            require_space(cache, NEEDED_BYTES, "downloading Kafka")
            with _only_one(cache / "download.lock"):
                if not is_complete(target):
                    _download(target, environ.get("STREAMAPP_MAVEN_REPOSITORY"), progress)
        except OSError as cause:
            raise KafkaUnavailable(
                f"{cache}: cannot keep Kafka's jars there: {cause.strerror or cause}; set XDG_CACHE_HOME"
            ) from cause
    return Distribution(VERSION, target / "libs")


def is_complete(target: Path) -> bool:
    """Return whether the directory holds exactly what the lock file names: it appears there whole, or not at all."""
    try:
        return (target / "complete").read_text(encoding="utf-8") == _fingerprint()
    except OSError:
        return False


def _fingerprint() -> str:
    return hashlib.sha256("".join(f"{jar.sha256} {jar.coordinates}\n" for jar in pinned_jars()).encode()).hexdigest()


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_WAIT
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise KafkaUnavailable(
                        f"{path}: another process has been downloading for {LOCK_WAIT:.0f} s; end it"
                    ) from None
                time.sleep(0.2)  # flock knows no timeout
        yield


def _download(target: Path, repository: str | None, progress: Progress) -> None:
    jars = pinned_jars()
    for killed in target.parent.glob("partial-*"):  # nobody else's: we hold the lock
        shutil.rmtree(killed, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=target.parent) as name:
        partial = Path(name)
        libs = partial / "libs"
        libs.mkdir()
        with _system_authorities():
            context = _maven(partial / "repository", repository)
            pool = ThreadPoolExecutor(DOWNLOADS, thread_name_prefix="jars")
            try:
                progress("downloading Kafka", 0, len(jars))
                waiting = [pool.submit(_fetch, context, jar, libs) for jar in jars]
                for count, done in enumerate(as_completed(waiting), 1):
                    done.result()
                    progress("downloading Kafka", count, len(jars))
            finally:
                pool.shutdown(cancel_futures=True)
        shutil.rmtree(partial / "repository")
        (partial / "complete").write_text(_fingerprint(), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)  # of another lock file, or damaged
        # The rename makes it whole at once. A new directory takes its place, for the context manager to remove.
        partial.rename(target)
        partial.mkdir()


@contextmanager
def _system_authorities() -> Iterator[None]:
    """Let requests trust the authorities of the system: behind a proxy with one of its own, certifi's do not suffice."""
    import truststore  # noqa: PLC0415 - only a download needs it, and it takes a while to import

    truststore.inject_into_ssl()
    try:
        yield
    finally:
        truststore.extract_from_ssl()


def _maven(repo_cache: Path, repository: str | None) -> MavenContext:
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - only a download needs it

    logging.getLogger("jgo").setLevel(logging.ERROR)
    remote = {"mirror": repository.rstrip("/")} if repository else None
    return MavenContext(resolver=PythonResolver(), repo_cache=repo_cache, local_repos=[], remote_repos=remote, timeout=20)


def _fetch(context: MavenContext, jar: Jar, libs: Path) -> None:
    import requests  # noqa: PLC0415 - what jgo downloads with

    group, artifact, version = jar.coordinates.split(":")
    try:
        downloaded = context.project(group, artifact).at_version(version).artifact().resolve()
    except requests.exceptions.SSLError as cause:
        raise KafkaUnavailable(
            "cannot download Kafka: the server's certificate is not trusted; "
            "set SSL_CERT_FILE to your proxy's authority, or KAFKA_HOME to a Kafka that you have"
        ) from cause
    except (requests.RequestException, RuntimeError) as cause:
        raise KafkaUnavailable(
            f"cannot download Kafka ({jar.file_name}: {_reason(cause)}); "
            "this is needed once: connect to the network, or set HTTPS_PROXY, STREAMAPP_MAVEN_REPOSITORY or KAFKA_HOME"
        ) from cause
    with downloaded.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise KafkaUnavailable(
            f"{jar.file_name}: the download is damaged (SHA-256 {found[:12]}…, not {jar.sha256[:12]}…); try again"
        )
    downloaded.replace(libs / jar.file_name)


def _reason(cause: Exception) -> str:
    """Return the innermost reason of an error of requests, whose own text is a nest of reprs."""
    innermost: BaseException = cause
    while (inner := innermost.__cause__ or innermost.__context__) is not None:
        innermost = inner
    if isinstance(innermost, TimeoutError):
        return "timed out"
    if isinstance(innermost, OSError) and innermost.strerror:
        return innermost.strerror
    return "not there" if isinstance(cause, RuntimeError) else type(cause).__name__


def resolve_lock() -> list[str]:
    """Resolve KAFKA with all that it needs at run time; return the lines of a lock file. Needs the network."""
    with tempfile.TemporaryDirectory() as name, _system_authorities():
        context = _maven(Path(name), os.environ.get("STREAMAPP_MAVEN_REPOSITORY"))
        from jgo.maven import Dependency  # noqa: PLC0415 - as above

        wanted = [coordinates.split(":") for coordinates in KAFKA]
        inputs, others = context.resolver.resolve(
            [Dependency(context.project(group, artifact).at_version(version).artifact()) for group, artifact, version in wanted]
        )
        lines = []
        for artifact in {found.artifact.key: found.artifact for found in (*inputs, *others)}.values():
            digest = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
            lines.append(f"{digest} {artifact.groupId}:{artifact.artifactId}:{artifact.version}")
    return sorted(lines, key=lambda line: line.split()[1])


if __name__ == "__main__":
    print("# SHA-256 and coordinates of every jar; python -m streamapp.broker.distribution prints this file anew.")
    print("\n".join(resolve_lock()))
