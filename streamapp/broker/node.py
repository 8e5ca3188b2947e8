"""One development broker: the process of Kafka, from a claimed directory to the first answer, and back to nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from streamapp.broker import wire
from streamapp.broker.config import LOG4J2, BrokerConfig, KeyStore, Listener, Ports, as_file, server_properties
from streamapp.broker.distribution import Distribution, Progress, find_kafka, require_space
from streamapp.broker.errors import (
    BrokerDied,
    BrokerDown,
    BrokerError,
    BrokerRefused,
    BrokerSilent,
    ConfigInvalid,
    DiskFull,
    GuardRefused,
    PortTaken,
)
from streamapp.broker.java import Java, find_java
from streamapp.broker.logs import last_lines
from streamapp.broker.ports import HOST, is_free, pick_free
from streamapp.broker.processes import POLL, Process, watch
from streamapp.broker.state import MARKER, OURS, RunningState, claim, read_live_state, require_ours, write_whole
from streamapp.broker.tls import CA_FILE, ensure_key_store

NEEDED_BYTES = 200 * 1024 * 1024
"""Kafka allocates 10 MB of index per partition in use, and stops for good when its disk is full."""

PORT_TRIES = 3
"""Between our look at a free port and Kafka's, another process may take it; three times in a row is no accident."""

FORMAT_TIMEOUT = 60.0
"""Seconds for Kafka's storage tool, usually 1 to 2."""

BOOTSTRAP_TIMEOUT = 2.0
"""Seconds for one answer while the broker starts: it refuses or answers at once, only a stalled machine is slower."""


def silent(what: str, done: int, total: int) -> None:
    """A Progress that nobody sees."""


class Broker:
    """A single-node Kafka of one's own. Use as a context manager, or pair start() with stop().

    stop() may come twice, before start(), or from another process than start(): what counts is the data directory.
    After stop() or kill(), start() brings the broker back on the same ports with the same data. Blocks; not for an event loop.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        die_with_parent: bool = False,
        environ: Mapping[str, str] | None = None,
        progress: Progress = silent,
    ) -> None:
        """`die_with_parent`: also end the broker when this process dies in any way, SIGKILL included."""
        self.config = replace(config, data_dir=config.data_dir.absolute())
        self._die_with_parent = die_with_parent
        self._environ = os.environ if environ is None else environ
        self._progress = progress
        self._ports: Ports | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self.warning: str | None = None
        """Known after start(): what the user should be told about this Kafka, or None."""

    @property
    def data_dir(self) -> Path:
        return self.config.data_dir

    @property
    def state(self) -> RunningState | None:
        """The broker's process and ports, or None while its process is not alive."""
        self._reap()
        return read_live_state(self.data_dir)

    @property
    def address(self) -> str:
        """`127.0.0.1:port` of the plain listener. Raises BrokerDown before the first start()."""
        if self._ports is not None:
            return f"{HOST}:{self._ports.plain}"
        return self._alive().address

    def listener_address(self, listener: Listener) -> str:
        """Return `127.0.0.1:port` of an extra listener. Raises BrokerDown before the first start(), KeyError: not configured."""
        extra = self._alive().extra if self._ports is None else self._ports.extra
        return f"{HOST}:{extra[listener]}"

    @property
    def ca_file(self) -> Path:
        """The PEM file for a client's `ssl.ca.location`; exists once a TLS listener was started."""
        return self.data_dir / "tls" / CA_FILE

    @property
    def log_file(self) -> Path:
        return self.data_dir / "logs" / "server.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return when the broker answers; a broker that runs already is left as it is.

        1 claim    the directory is ours, no other start is at work in it
        2 parts    Java, Kafka's jars (downloaded if need be), disk space
        3 ports    all free, or picked free
        4 format   the data, on the first start only
        5 launch   the process, its pid file, its watchdog
        6 answer   ApiVersions answers, or the process is ended again

        Raises a BrokerError whose message names the fix; the broker does not run then.
        """
        claim(self.data_dir)  # 1
        with self._only_start():
            if (running := self.state) is not None:
                self._join(running)
                return
            java = find_java(self._environ)  # 2
            kafka = find_kafka(self._environ, self._progress)
            self.warning = kafka.warning
            require_space(self.data_dir, NEEDED_BYTES, "the broker")
            for tries_left in reversed(range(PORT_TRIES)):
                ports = self._choose_ports()  # 3
                try:
                    self._start_on(ports, java, kafka)
                except PortTaken:
                    if not tries_left:
                        raise
                    continue  # looking again names the port, or finds it free
                self._ports = ports
                return

    def stop(self) -> bool:
        """End the broker, with SIGKILL after `stop_timeout`, and return whether there was one. Its data stays."""
        running = self.state
        if running is not None:
            running.process.signal(signal.SIGTERM)
            running.process.signal(signal.SIGCONT)  # a paused one could not obey
            if not self._gone_within(running.process, self.config.stop_timeout):
                running.process.kill()
        elif self._child is not None:
            self._child.kill()  # alive, though its pid file is gone: somebody deleted it
        self._forget()
        return running is not None

    def kill(self) -> None:
        """SIGKILL, as a crash would: nothing is flushed. Returns when the process is gone."""
        running = self._alive()
        running.process.signal(signal.SIGKILL)
        if not self._gone_within(running.process, 20):
            raise BrokerSilent(f"process {running.process.pid} outlived SIGKILL by 20 s")
        self._forget()

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): connections stay open and nothing answers."""
        self._alive().process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused broker go on (SIGCONT); one that was not paused is not disturbed."""
        self._alive().process.signal(signal.SIGCONT)

    def topics(self, *, timeout: float = 5.0) -> dict[str, int]:
        """Return the number of partitions by topic. Raises BrokerDown: not running, or no answer within `timeout` seconds."""
        running = self._alive()
        try:
            return wire.topics(running.port, timeout=timeout).partitions
        except OSError as cause:
            raise BrokerSilent(f"{running.address}: process {running.process.pid} runs but does not answer: {cause}") from cause

    def size_bytes(self) -> int:
        """Return what a reset would delete. Raises GuardRefused: the directory is no broker's."""
        require_ours(self.data_dir)
        ours = (self.data_dir / name for name in OURS)
        return sum(
            file.lstat().st_size for path in ours for file in (path, *path.rglob("*")) if file.exists() and not file.is_dir()
        )

    def reset(self) -> None:
        """Stop the broker and delete its data, log and certificate. Raises GuardRefused: the directory is no broker's."""
        require_ours(self.data_dir)
        self.stop()
        # The marker goes last: an interrupted reset can be repeated.
        for name in (*sorted(OURS - {MARKER}), MARKER):
            path = self.data_dir / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=False)
            else:
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.data_dir.rmdir()  # unless the user put something there

    def detach(self) -> None:
        """Leave the broker running when this object and this process end."""
        if self._die_with_parent:
            raise ConfigInvalid("a broker with die_with_parent cannot be detached")
        if self._child is not None:
            self._child.returncode = 0  # else Popen warns of a process left behind, which is the intention here
            self._child = None

    def _alive(self) -> RunningState:
        if (running := self.state) is None:
            raise BrokerDown(f"no broker runs in {self.data_dir}; `streamapp broker start` starts one")
        return running

    def _join(self, running: RunningState) -> None:
        wanted = self.config.port
        if (wanted and wanted != running.port) or not set(self.config.listeners) <= set(running.extra):
            raise ConfigInvalid(
                f"a broker runs already, on {running.address} and not as asked for now; `streamapp broker stop` first"
            )
        self._ports = Ports(plain=running.port, controller=running.controller_port, extra=running.extra)
        self._await_answer(running.port, running.process)

    @contextmanager
    def _only_start(self) -> Iterator[None]:
        deadline = time.monotonic() + self.config.start_timeout
        with (self.data_dir / "start.lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise BrokerSilent(
                            f"{self.data_dir}: another start is still at work there; wait for it, or end it"
                        ) from None
                    time.sleep(POLL)  # flock knows no timeout
            yield

    def _choose_ports(self) -> Ports:
        if (known := self._ports) is not None:
            for port in (known.plain, *known.extra.values()):
                self._require_free(port)
            # Clients never see the controller's port, so it may move.
            return (
                known if is_free(known.controller) else replace(known, controller=pick_free({known.plain, *known.extra.values()}))
            )
        chosen = {port for port in (self.config.port, *self.config.listeners.values()) if port}
        for port in sorted(chosen):
            self._require_free(port)

        def settle(port: int) -> int:
            chosen.add(port := port or pick_free(chosen))
            return port

        plain = settle(self.config.port)
        extra = {listener: settle(port) for listener, port in self.config.listeners.items()}
        return Ports(plain=plain, controller=settle(0), extra=extra)

    def _require_free(self, port: int) -> None:
        if not is_free(port):
            whose = "another Kafka broker" if wire.answers(port, timeout=BOOTSTRAP_TIMEOUT) else "another process"
            raise PortTaken(f"port {port} on {HOST} is taken by {whose}; stop it, or choose another with --port (0: a free one)")

    def _start_on(self, ports: Ports, java: Java, kafka: Distribution) -> None:
        for name in ("tmp", "logs"):
            (self.data_dir / name).mkdir(exist_ok=True)
        shutil.rmtree(self.data_dir / "tmp", ignore_errors=True)  # a killed JVM leaves its unpacked libraries there
        (self.data_dir / "tmp").mkdir()
        key_store: KeyStore | None = None
        if any(listener.has_certificate for listener in ports.extra):
            key_store = ensure_key_store(self.data_dir / "tls", java)
        try:
            properties = self.data_dir / "server.properties"
            properties.touch(mode=0o600)  # holds the key store's password
            properties.write_text(as_file(server_properties(self.config, ports, key_store)), encoding="ascii")
            (self.data_dir / "log4j2.xml").write_text(LOG4J2, encoding="utf-8")
            self._format(java, kafka)  # 4
            process = self._launch(java, kafka, ports)  # 5
            self._await_answer(ports.plain, process)  # 6
        except BaseException as failure:
            self._abandon()
            if isinstance(failure, OSError):
                raise _refused(self.data_dir, failure) from failure
            raise

    def _command(self, java: Java, kafka: Distribution, *options: str) -> list[str]:
        return [
            str(java.executable),
            *options,
            "-XX:-UsePerfData",
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={self.data_dir / 'tmp'}",
            f"-Dstreamapp.logs={self.data_dir / 'logs'}",
            f"-Dlog4j2.configurationFile={(self.data_dir / 'log4j2.xml').as_uri()}",
            "-cp",
            kafka.class_path,
        ]

    def _format(self, java: Java, kafka: Distribution) -> None:
        """Create the data once, the users in it. Raises GuardRefused: it is there, made with other users."""
        note = self.data_dir / "formatted"
        users = {name: hashlib.sha256(f"{name}:{word}".encode()).hexdigest() for name, word in self.config.users.items()}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(note.read_text(encoding="utf-8"))
            if any(known.get(name) != digest for name, digest in users.items()):
                raise GuardRefused(
                    f"{self.data_dir}: users are written when the data is created; `streamapp broker reset --execute` first"
                )
            return
        self._progress("creating the broker's data", 0, 0)
        shutil.rmtree(self.data_dir / "kafka", ignore_errors=True)  # left by a format that did not finish
        cluster_id = (
            urlsafe_b64encode(b"\x01" + secrets.token_bytes(15)).decode().rstrip("=")
        )  # a leading dash would look like an option
        command = [
            *self._command(java, kafka, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            *("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self.data_dir / "server.properties")),
        ]
        for name, word in self.config.users.items():
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                command += ["--add-scram", f"{mechanism}=[name={name},password={word}]"]
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=FORMAT_TIMEOUT)
        except subprocess.CalledProcessError as cause:
            said = (cause.stderr or cause.stdout).strip().splitlines()
            raise BrokerDied(f"Kafka's storage tool failed: {' | '.join(said[:3])}") from cause
        except subprocess.TimeoutExpired as cause:
            raise BrokerSilent(f"Kafka's storage tool did not end within {FORMAT_TIMEOUT:.0f} s") from cause
        write_whole(note, json.dumps(users))

    def _launch(self, java: Java, kafka: Distribution, ports: Ports) -> Process:
        self._progress(f"starting Kafka {kafka.version}", 0, 0)
        logs = self.data_dir / "logs"
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        options = (*self.config.jvm_options, "-XX:+ExitOnOutOfMemoryError", f"-XX:ErrorFile={logs}/crash.log")
        command = [*self._command(java, kafka, *options), "kafka.Kafka", str(self.data_dir / "server.properties")]
        with (logs / "console.log").open("wb") as console:
            self._child = subprocess.Popen(
                command,
                cwd=self.data_dir,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # outlives the terminal, and a Ctrl-C there is ours to handle
            )
        process = Process.of(self._child.pid)
        if process is None:
            raise self._died()
        RunningState(
            process=process,
            port=ports.plain,
            controller_port=ports.controller,
            version=kafka.version,
            profile=self.config.profile,
            extra=dict(ports.extra),
        ).write(self.data_dir / "broker.pid")
        if self._die_with_parent:
            self._watchdog = watch(process)
        return process

    def _await_answer(self, port: int, process: Process) -> None:
        deadline = time.monotonic() + self.config.start_timeout
        while not wire.answers(port, timeout=BOOTSTRAP_TIMEOUT):
            if self._gone_within(process, POLL):
                raise self._died()
            if time.monotonic() >= deadline:
                raise BrokerSilent(
                    f"no answer from {HOST}:{port} within {self.config.start_timeout:.0f} s; `streamapp broker logs` says what it is doing"
                )

    def _died(self) -> BrokerError:
        code = self._child.poll() if self._child is not None else None
        logged = last_lines(self.log_file, 400, since=self._log_start)
        printed = last_lines(self.data_dir / "logs" / "console.log", 40)
        everything = "\n".join(logged + printed)
        if "Address already in use" in everything:
            return PortTaken("a port was taken while the broker started; start it again")
        if "No space left on device" in everything:
            return DiskFull(f"{self.data_dir}: no space left on device; make room")
        telling = [line for line in logged if " ERROR " in line or " FATAL " in line or "Exception" in line] or printed or logged
        ended = f"exit code {code}" if code is not None else "it is gone"
        return BrokerDied(
            "\n  ".join([f"the broker ended while starting ({ended}); its last words, from {self.log_file}:", *telling[-5:]])
        )

    def _gone_within(self, process: Process, seconds: float) -> bool:
        child = self._child
        if child is None or child.pid != process.pid:
            return process.gone_within(seconds)
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _reap(self) -> None:
        if self._child is not None:
            self._child.poll()

    def _abandon(self) -> None:
        """End a process that did not come up, without ceremony."""
        if self._child is not None:
            self._child.kill()
        self._forget()

    def _forget(self) -> None:
        """Drop what belongs to a process that is gone."""
        if self._child is not None:
            self._child.wait(20)
            self._child = None
        if self._watchdog is not None:
            with self._watchdog:  # closes the pipe, which is its sign to end, and waits
                pass
            self._watchdog = None
        (self.data_dir / "broker.pid").unlink(missing_ok=True)


def _refused(data_dir: Path, cause: OSError) -> BrokerError:
    if cause.errno == errno.ENOSPC:
        return DiskFull(f"{data_dir}: no space left on device; make room")
    return BrokerRefused(f"{cause.filename or data_dir}: {cause.strerror or cause}")
