"""The wheel holds the framework and nothing else, and works where nothing else is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 120
INSTALL_SECONDS = 240
"""A Java runtime and a Kafka client come over the network, where pip has not kept them."""

pytestmark = pytest.mark.timeout(BUILD_SECONDS + INSTALL_SECONDS)


def run(*command: str | Path, cwd: Path, timeout: float) -> str:
    """Return what the command said, from an environment in which only its own installation can be found."""
    environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, ROOT, cwd=out, timeout=BUILD_SECONDS)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin directory of an environment that has the wheel and what it asks for."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home / "venv", with_pip=True)
    bin_directory = home / "venv" / "bin"
    run(bin_directory / "python", "-m", "pip", "install", "--quiet", wheel, cwd=home, timeout=INSTALL_SECONDS)
    return bin_directory


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_framework_and_its_metadata_only(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names_in(wheel)}
    assert len(tops) == 2
    assert "streamapp" in tops
    assert any(top.startswith("streamapp_kafka-") and top.endswith(".dist-info") for top in tops)


def test_every_file_of_the_framework_is_in_the_wheel(wheel: Path) -> None:
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "streamapp").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names_in(wheel) if name.startswith("streamapp/")} == there
    assert {"streamapp/py.typed", "streamapp/broker/kafka.lock"} <= there


def test_the_metadata_names_the_licence_the_readme_and_the_python(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_it_is_imported_from_where_pip_put_it(installed: Path) -> None:
    where = run(installed / "python", "-c", "import streamapp; print(list(streamapp.__path__))", cwd=installed, timeout=60)
    assert "site-packages" in where


def test_its_command_runs_without_any_tool_of_development(installed: Path) -> None:
    assert "broker" in run(installed / "streamapp", "--help", cwd=installed, timeout=60)
    assert "--listener" in run(installed / "streamapp", "broker", "start", "--help", cwd=installed, timeout=60)
    absent = "import importlib.util as u; print([n for n in ('pytest', 'mypy', 'hypothesis', 'ruff') if u.find_spec(n)])"
    assert run(installed / "python", "-c", absent, cwd=installed, timeout=60).strip() == "[]"


def test_what_it_asks_for_fits_together(installed: Path) -> None:
    assert "No broken requirements" in run(installed / "python", "-m", "pip", "check", cwd=installed, timeout=60)
