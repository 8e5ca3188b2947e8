"""A contender from a registry is measured as its settings say; where it cannot be had, a sentence says why, and nothing breaks."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from tests.benchmarks.foreign import FOREIGN, QUIX_STREAMS
from tests.benchmarks.foreign.contender import Missing
from tests.benchmarks.foreign.environment import Environment, Unavailable, complaint_in, run_step
from tests.benchmarks.foreign.kafka_streams import jars
from tests.benchmarks.foreign.kafka_streams.contender import JVM_FLAGS, Jdk, KafkaStreams, find_jdk
from tests.benchmarks.foreign.python_contender import PythonContender
from tests.support.topics import wait_until

ON_PYPI = [one for one in FOREIGN if isinstance(one, PythonContender)]


def a_java(home: Path, version: str = "21.0.1", *, javac: bool = True) -> Path:
    """Make a directory of commands with a `java` that only knows its version."""
    commands = home / "bin"
    commands.mkdir(parents=True)
    for name in ("java", "javac") if javac else ("java",):
        (commands / name).write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        (commands / name).chmod(0o755)
    return commands


def test_a_jdk_is_found_by_its_home_before_the_path(tmp_path: Path) -> None:
    home, path = a_java(tmp_path / "home"), a_java(tmp_path / "path", "17.0.2")
    assert find_jdk({"JAVA_HOME": str(home.parent), "PATH": str(path)}) == Jdk(home, 21)
    assert find_jdk({"PATH": str(path)}) == Jdk(path, 17)


def test_a_jdk_behind_a_runtime_is_found(tmp_path: Path) -> None:
    runtime, jdk = a_java(tmp_path / "runtime", javac=False), a_java(tmp_path / "jdk", "17.0.2")
    assert find_jdk({"JAVA_HOME": str(runtime.parent), "PATH": f"{runtime}:{jdk}"}) == Jdk(jdk, 17)


def test_the_compiler_is_looked_for_where_a_link_leads(tmp_path: Path) -> None:
    jdk, linked = a_java(tmp_path / "jdk"), tmp_path / "usr"
    linked.mkdir()
    (linked / "java").symlink_to(jdk / "java")
    assert find_jdk({"PATH": str(linked)}) == Jdk(jdk, 21)
    assert find_jdk({"STREAMAPP_JAVA": str(linked / "java"), "PATH": ""}) == Jdk(jdk, 21)


def test_a_runtime_without_javac_is_said_to_be_one(tmp_path: Path) -> None:
    runtime = a_java(tmp_path, javac=False)
    with pytest.raises(Unavailable, match=r"no JDK 17 or newer is at hand \(PATH has Java 21 without javac\); install one"):
        find_jdk({"PATH": str(runtime)})


def test_an_old_jdk_is_named_with_its_version(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="JAVA_HOME has Java 8"):
        find_jdk({"JAVA_HOME": str(a_java(tmp_path, "1.8.0_392").parent), "PATH": ""})


def test_without_any_java_kafka_streams_is_missing_and_nothing_is_downloaded(tmp_path: Path) -> None:
    contender = KafkaStreams(home=tmp_path / "kafka-streams", environ={"PATH": str(tmp_path)})
    found = contender.prepare(Console(quiet=True))
    assert found == Missing("no JDK 17 or newer is at hand; install one, or set JAVA_HOME")
    assert not (tmp_path / "kafka-streams").exists()


def test_kafka_streams_is_started_by_the_compilers_own_java_and_names_its_flags(tmp_path: Path) -> None:
    ready = KafkaStreams(home=tmp_path).ready(Jdk(Path("/jdk/bin"), 21))
    assert ready.command("dedupe") == (
        *("/jdk/bin/java", *JVM_FLAGS, "-cp", f"{tmp_path}/classes:{tmp_path}/jars/libs/*"),
        *("Jobs", "dedupe"),
    )
    assert ready.versions == {
        "kafka-streams": jars.VERSION,
        "rocksdbjni": "10.1.3",
        "jackson-databind": "2.21.7",
        "Java": "21",
        "JVM flags": "-Xms1g -Xmx1g",
    }


def test_the_lock_holds_every_jar_that_is_named() -> None:
    assert set(jars.STREAMS) <= {jar.coordinates for jar in jars.pinned_jars()}
    assert jars.version_of("no-such-jar") == "unknown"


@pytest.mark.parametrize("contender", ON_PYPI, ids=lambda one: one.name)
def test_a_python_contender_runs_a_program_that_is_there_in_its_own_environment(contender: PythonContender) -> None:
    ready = contender.ready(Path("/home"))
    for job in contender.jobs:
        python, isolated, program, *arguments = ready.command(job)
        assert (python, isolated) == ("/home/venv/bin/python", "-I")
        assert Path(program).is_file()
        assert arguments == [job, *contender.arguments]


def test_versions_are_those_of_its_environment_and_unknown_where_it_has_none(tmp_path: Path) -> None:
    installed = tmp_path / "venv/lib/python3.11/site-packages/quixstreams-3.99.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: QuixStreams\nVersion: 3.99.0\n")
    versions = QUIX_STREAMS.ready(tmp_path).versions
    assert versions["quixstreams"] == "3.99.0"
    assert versions["confluent-kafka"] == "unknown"


def test_faust_asks_for_the_guarantee_that_its_name_gives() -> None:
    asked = {one.name: (one.promise, one.arguments) for one in ON_PYPI if one.program.startswith("faust")}
    assert asked == {
        "faust-streaming (at least once)": ("at least once", ("at_least_once",)),
        "faust-streaming (exactly_once)": ("exactly once", ("exactly_once",)),
    }


def test_every_contender_is_told_apart_and_does_known_jobs_on_a_share_of_the_records() -> None:
    assert len({one.name for one in FOREIGN}) == len(FOREIGN)
    for one in FOREIGN:
        assert set(one.jobs) <= {"dedupe", "map"}
        assert 0 < one.records_share <= 1
        assert one.group("an-app") == "an-app"


def test_a_contender_that_cannot_be_kept_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = replace(QUIX_STREAMS, home=tmp_path / "file").prepare(Console(quiet=True))
    assert isinstance(found, Missing)
    assert found.why.startswith(f"nothing can be kept in {tmp_path / 'file'}/quix-streams: ")


def test_an_environment_is_ready_only_when_finished_and_of_the_same_make(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "one", "a==1")
    assert not environment.is_ready()
    environment.begin()
    (environment.home / "half").write_text("")
    assert not environment.is_ready()
    environment.begin()
    assert not (environment.home / "half").exists()
    environment.finish()
    assert environment.is_ready()
    assert not Environment(tmp_path / "one", "a==2").is_ready()


def test_a_step_that_fails_says_what_the_command_called_an_error(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; print('Looking'); print('ERROR: no such package'); sys.exit('1 of 2')")
    with pytest.raises(Unavailable, match=r"^installing it failed: ERROR: no such package \(all of it in .*log\)$"):
        run_step(command, "installing it", tmp_path / "log", lambda _: None)


def test_a_step_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    command = ("sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(Unavailable, match="installing it was not done within 0 s"):
        run_step(command, "installing it", tmp_path / "log", lambda _: None, allowed=0.1)
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not _runs(child), deadline=10, why=lambda: f"process {child} still runs")


def test_a_step_tells_what_its_command_said_last(tmp_path: Path) -> None:
    told: list[str] = []
    go_on = tmp_path / "go on"

    def tell(line: str) -> None:
        told.append(line)
        go_on.touch()  # the command ends no sooner than its line has been told

    run_step(
        ("sh", "-c", f"echo jar 3; until [ -e '{go_on}' ]; do sleep 0.05; done"), "fetching", tmp_path / "log", tell, allowed=30
    )
    assert told[0].startswith("fetching, ")
    assert told[0].endswith("s: jar 3")


def _runs(pid: int) -> bool:
    # Dead and not yet looked at by whoever inherited it is dead.
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("Jobs.java:3: error: no such class\n  import a;\n1 error\n", "Jobs.java:3: error: no such class"),
        ("Collecting it\nkilled\n\n", "killed"),
        ("\n", "it said nothing"),
        (f"ERROR: none of {'1.0, ' * 500}\n", f"ERROR: none of {'1.0, ' * 36}…"),
    ],
)
def test_the_complaint_is_the_first_error_or_else_the_last_line(output: str, complaint: str) -> None:
    assert complaint_in(output) == complaint
