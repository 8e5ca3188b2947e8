"""The documents name what is there: files, links, make targets, commands, settings with their defaults, threads."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from streamapp.cli import main
from streamapp.settings import load, names, values, variable
from streamapp.settings.environment import SECRETS
from streamapp.settings.names import RESERVED_PREFIXES
from tests.support.documents import DOCUMENTS, ROOT, blocks, code, headings, links, section, spans, text_of

PATH = re.compile(r"\.?\w[\w.-]*(/[\w.-]+)*/?")
"""A path as prose names it: no blanks, no placeholders."""
KNOWN_TOPS = {path.name for path in (*ROOT.iterdir(), *(ROOT / "streamapp").iterdir())}


def named_paths(document: str) -> list[str]:
    """Return the inline code that can only be a path of the repository: it begins with one of its names, and goes on."""
    return [
        span
        for span in spans(document)
        if PATH.fullmatch(span) and span.split("/")[0] in KNOWN_TOPS and ("/" in span or "." in span)
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_is_named_exists(document: str) -> None:
    missing = [
        path
        for path in named_paths(document)
        if not (
            (ROOT / path).exists() or (ROOT / "streamapp" / path).exists() or path.startswith("build/")
        )  # what runs leave there
    ]
    assert missing == []


def test_files_are_found_to_look_for() -> None:
    assert "pipeline/commit.py" in named_paths("ARCHITECTURE.md")
    assert "tests/support/ledger.py" in named_paths("README.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    lost = []
    for target in links(document):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        there = str(Path(document).parent / file) if file else document
        if not (ROOT / there).exists() or (anchor and anchor not in headings(there)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {target for line in code(document) for target in re.findall(r"^make ([a-z]+)", line)}
    assert asked <= targets


def test_every_target_of_make_is_told_to_contributors() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {"help"}
    assert {span.removeprefix("make ") for span in spans("CONTRIBUTING.md") if span.startswith("make ")} >= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_streamapp_command_exists(document: str) -> None:
    for line in code(document):
        if (typed := re.match(r"(?:\S*/)?streamapp ((?:[a-z]+ ?)+)", line)) is None:
            continue
        command: click.Command | None = main
        for word in typed[1].split():
            if not isinstance(command, click.Group):
                break  # its arguments
            command = command.commands.get(word)
            assert command is not None, line


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_variable_is_a_setting(document: str) -> None:
    known = {variable(name) for name in (*names(), *(f"{secret}_file" for secret in SECRETS))}
    named = set(re.findall(r"\bSTREAMAPP_[A-Z_]*[A-Z]\b", text_of(document)))
    unknown = {name for name in named - known if not name.startswith(RESERVED_PREFIXES)}
    assert {name for name in unknown if not any(other.startswith(f"{name}_") for other in known)} == set()


def test_the_readmes_defaults_are_the_settings_defaults() -> None:
    defaults = {variable(name): value for name, value in values(load({"app_id": "any"}, {}, {})).items()}
    rows = re.findall(r"^\| `(STREAMAPP_\w+)` \| (?:`([^`]+)`|–) \|", section("README.md", "Settings"), re.MULTILINE)
    assert len(rows) > 10
    for name, told in rows:
        default = defaults[name]
        if told:
            assert told.lower() == (f"{default:g}" if isinstance(default, float) else str(default).lower()), name
        else:
            assert default is None or name == variable("app_id"), name


def test_every_setting_is_read_by_something() -> None:
    rooms = ROOT / "streamapp"
    texts = [path.read_text() for path in rooms.rglob("*.py") if "settings" not in path.relative_to(rooms).parts]
    used = {name for name in names() if any(re.search(rf"\.{name}\b", text) for text in texts)}
    used |= {name for name in names() if name.startswith(("retry_", "breaker_"))} | {
        "heartbeat_interval"
    }  # read under other names
    assert set(names()) - used == set()


def test_every_thread_of_ours_is_in_the_map() -> None:
    table = section("ARCHITECTURE.md", "Threads and locks")
    started = []
    for path in (ROOT / "streamapp").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            name = ast.unparse(call.func)
            given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg in ("name", "thread_name_prefix"))]
            if name.endswith(("threading.Thread", "ThreadPoolExecutor")):
                texts = [part.value for at in given for part in ast.walk(at) if isinstance(part, ast.Constant)]
                started.append(next((text.strip() for text in texts if isinstance(text, str)), f"a nameless one in {path}"))
    assert len(started) >= 6
    assert [name for name in started if f"`{name}" not in table] == []


def test_every_log_line_that_the_map_quotes_is_written_somewhere() -> None:
    written = "".join(path.read_text() for path in (ROOT / "streamapp").rglob("*.py"))
    table = re.findall(r"^\| (`.*`) \| ", section("ARCHITECTURE.md", "A partition does not move"), re.MULTILINE)
    step = next(line for line in text_of("ARCHITECTURE.md").splitlines() if line.startswith("4. Ask the log:"))
    quoted = [part.strip() for text in (*table, step) for quote in re.findall(r"`([^`]+)`", text) for part in quote.split("…")]
    assert len(quoted) > 10
    assert [part for part in quoted if part not in written] == []


def test_the_options_of_verify_are_told_and_no_others() -> None:
    told = set(re.findall(r"(--[a-z][a-z-]+)", section("README.md", "Checking it yourself")))
    assert told == {option for each in main.commands["verify"].params for option in each.opts if option.startswith("--")} - {
        "--app"
    }


def test_no_fenced_block_is_left_open() -> None:
    for document in DOCUMENTS:
        assert text_of(document).count("\n```") == 2 * len(blocks(text_of(document))), document
