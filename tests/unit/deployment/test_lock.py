"""requirements.lock, which the image is made from, fits pyproject.toml: what it asks for is locked, with hashes, in a version that it allows."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.documents import ROOT

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK: Final = (ROOT / "requirements.lock").read_text()
HASH: Final = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries() -> dict[str, tuple[Requirement, int]]:
    """Return name -> what is locked, and the number of its hashes."""
    found: dict[str, tuple[Requirement, int]] = {}
    for entry in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE).strip()):
        requirement = Requirement(entry.split(" \\\n")[0])
        found[canonicalize_name(requirement.name)] = requirement, len(HASH.findall(entry))
    return found


def asked_for() -> Iterator[Requirement]:
    for line in (
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["otel"],
        *PROJECT["build-system"]["requires"],
    ):
        yield Requirement(line)


def test_what_the_project_asks_for_is_locked_in_a_version_that_it_allows() -> None:
    locked = entries()
    assert len(list(asked_for())) > 10
    wrong = []
    for asked in asked_for():
        found = locked.get(canonicalize_name(asked.name))
        if found is None or not asked.specifier.contains(Version(str(found[0].specifier).removeprefix("=="))):
            wrong.append(f"{asked}: locked is {found and found[0]}")
    assert wrong == [], "refresh requirements.lock: its head says how"


def test_every_version_is_exact_and_has_its_hashes() -> None:
    locked = entries()
    assert len(locked) > 40
    assert [str(entry) for entry, hashes in locked.values() if not str(entry.specifier).startswith("==") or not hashes] == []


def test_no_address_of_a_registry_is_in_it() -> None:
    assert re.findall(r"\w+://\S+|--(?:extra-)?index-url|--find-links|--trusted-host", LOCK) == []
