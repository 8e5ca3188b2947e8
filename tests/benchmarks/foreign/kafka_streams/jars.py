"""The jars of Kafka Streams from Maven Central, as `jars.lock` names them: fetched and compared like the broker's own.

python -m tests.benchmarks.foreign.kafka_streams.jars into DIRECTORY     download them
python -m tests.benchmarks.foreign.kafka_streams.jars lock               resolve STREAMS anew and print such a file
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from streamapp.broker import distribution
from streamapp.broker.distribution import Jar
from streamapp.broker.errors import DiskFull, KafkaUnavailable

VERSION: Final = "4.4.0"
"""The newest: it is measured, and is not the broker, which has to be 4.2.0."""

STREAMS: Final = (
    f"org.apache.kafka:kafka-streams:{VERSION}",
    f"org.apache.kafka:kafka-clients:{VERSION}",
    # As Kafka's POM has them; unless they are named, log4j's dependency management pulls others.
    "com.fasterxml.jackson.core:jackson-databind:2.21.7",
    "com.fasterxml.jackson.core:jackson-core:2.21.7",
    "com.fasterxml.jackson.core:jackson-annotations:2.21",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",  # the POM names no logging backend
    "org.apache.logging.log4j:log4j-core:2.25.5",
)
LOCK: Final = Path(__file__).with_name("jars.lock")
NEEDED_BYTES: Final = 250 * 1024 * 1024
"""The jars take 97 MB, most of it RocksDB for every platform; each is there twice for a moment."""


def pinned_jars() -> list[Jar]:
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return [Jar(*line.split()) for line in lines if line and not line.startswith("#")]


def version_of(artifact: str) -> str:
    named = [jar.coordinates.split(":") for jar in pinned_jars()]
    return next((version for _, name, version in named if name == artifact), "unknown")


def fingerprint() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def fetch(libs: Path) -> None:
    """Fill the new directory `libs`, with a line of progress per jar. STREAMAPP_MAVEN_REPOSITORY names a mirror.

    Raises KafkaUnavailable, DiskFull.
    """
    jars = pinned_jars()
    libs.mkdir()
    distribution.require_space(libs, NEEDED_BYTES, "downloading Kafka Streams")
    with tempfile.TemporaryDirectory(dir=libs.parent) as scratch, distribution._system_authorities():
        context = distribution._maven(Path(scratch), os.environ.get("STREAMAPP_MAVEN_REPOSITORY"))
        pool = ThreadPoolExecutor(distribution.DOWNLOADS, thread_name_prefix="jars")
        try:
            waiting = [pool.submit(distribution._fetch, context, jar, libs) for jar in jars]
            for count, done in enumerate(as_completed(waiting), 1):
                done.result()
                print(f"{count} of {len(jars)} jars", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)


def main(verb: str, directory: str = "") -> None:
    if verb == "into":
        try:
            fetch(Path(directory))
        except KafkaUnavailable as cause:
            what = str(cause).partition(";")[0]  # its advice is about Kafka itself
            sys.exit(f"{what}; it needs the network once, and heeds HTTPS_PROXY, SSL_CERT_FILE and STREAMAPP_MAVEN_REPOSITORY")
        except DiskFull as cause:
            sys.exit(str(cause))
        return
    distribution.KAFKA = STREAMS  # type: ignore[assignment]  # as many as it takes
    print("# SHA-256 and coordinates of every jar; python -m tests.benchmarks.foreign.kafka_streams.jars lock prints this file.")
    print("\n".join(distribution.resolve_lock()))


if __name__ == "__main__":
    main(*sys.argv[1:])
