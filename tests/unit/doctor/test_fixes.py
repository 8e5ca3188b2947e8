"""The fix of a finding is a command that can be run as it stands: ours are parsed by our own command line, Kafka's by their shape."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from streamapp.cli import main
from streamapp.doctor.catalogue import CATALOGUE
from streamapp.doctor.check import examine
from tests.support.doctor_cases import CASES

KNOWN = {
    "kafka-configs.sh": {"--bootstrap-server", "--alter", "--topic", "--add-config"},
    "kafka-topics.sh": {"--bootstrap-server", "--create", "--alter", "--delete", "--topic", "--partitions", "--config"},
    "kafka-acls.sh": {"--bootstrap-server", "--add", "--allow-principal", "--operation", "--topic"},
    "kafka-reassign-partitions.sh": {"--bootstrap-server", "--reassignment-json-file", "--execute"},
}
"""Tool -> the options that findings use of it."""
COMING = {"lag", "offsets", "app", "topics", "transactions"}
"""Verbs that the manual names and that need not be there yet; those that are, are parsed."""


def commands() -> list[str]:
    """Return every command that some fix tells to run."""
    checks = {check.id: check for check in CATALOGUE}
    found = set()
    for case in CASES:
        for finding in examine(checks[case.id], case.facts):
            for part in re.split(r"; |, (?=then |or )|: it is ", finding.fix):
                told = re.search(r"(?:echo|streamapp|kafka-[a-z-]+\.sh|faust) .*", part)
                if told is not None:
                    found.add(told[0].split(", to build")[0].strip())
    return sorted(found)


OURS = [command for command in commands() if command.startswith("streamapp ")]
KAFKAS = [command for command in commands() if not command.startswith(("streamapp ", "faust "))]


def test_fixes_are_found_in_the_findings() -> None:
    assert {command.split()[1] for command in OURS} >= {"dlq", "doctor", "transactions", "app", "offsets", "lag"}
    tools = {tool for command in KAFKAS for tool in KNOWN if tool in command}
    assert tools == set(KNOWN)


@pytest.mark.parametrize("command", OURS)
def test_our_own_commands_are_parsed_by_our_command_line(command: str) -> None:
    words = shlex.split(command.split(" > ", maxsplit=1)[0])[1:]
    group: click.Command = main
    context = click.Context(main)
    while isinstance(group, click.Group):
        found = group.get_command(context, words[0])
        if found is None and group is main and words[0] in COMING:
            pytest.skip(f"streamapp {words[0]} is not in this tree yet")
        assert found is not None, command
        group, words = found, words[1:]
    with group.make_context("it", words):
        pass  # parsed: an option that is not there, or a value that cannot be, would have raised


@pytest.mark.parametrize("command", KAFKAS)
def test_kafkas_commands_name_the_broker_and_only_options_that_the_tool_has(command: str) -> None:
    words = shlex.split(command)
    tool = next(word for word in words if word in KNOWN)
    behind = words[words.index(tool) + 1 :]
    assert {word for word in behind if word.startswith("--")} <= KNOWN[tool]
    assert behind[behind.index("--bootstrap-server") + 1] == "kafka:9092"
    assert not any(word in {"…", "None"} for word in behind)
