"""Engines that lack one rule, for tests that must turn red with them: edits of the engine's source, made while it is imported.

An edit and not a switch in the engine, so that production has none; an edit and not a patched method, so that what is taken away is
the very line that keeps the rule, and a line that has changed since is told from one that is kept (`Edit.of` raises).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

WEAKEN: Final = "STREAMAPP_TEST_WEAKEN"
"""The variable that names one. Its prefix is no setting's, so a worker's settings ignore it."""

WAY_IN: Final = Path(__file__).with_name("weakened_process")


def environment(text: str) -> dict[str, str]:
    """Return the variables with which any Python process runs the engine that `text` names."""
    return {WEAKEN: text, "PYTHONPATH": str(WAY_IN)}


class EditDoesNotFit(Exception):
    """The engine no longer has the text that an edit replaces, or has it more than once."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One place of the engine: `old` stands once in the module, and `new` in its place takes a rule away."""

    module: str
    """Below streamapp."""
    old: str
    new: str

    def of(self, source: str) -> str:
        """Return `source` without the rule. Raises EditDoesNotFit."""
        if (found := source.count(self.old)) != 1:
            raise EditDoesNotFit(f"streamapp.{self.module} has {found} times, not once:\n{self.old}")
        return source.replace(self.old, self.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakening:
    """An engine without one rule, and how that shows."""

    rule: str
    """A rule's number in DESIGN §4, or where else it stands."""
    lacks: str
    """What the engine no longer does."""
    costs: str
    """What a user would lose."""
    edits: tuple[Edit, ...]
    """Several where a rule is kept in more than one place, or where a second check of the engine covers the first."""
    test: str
    """The test that must turn red; it is part of `make test`, where it is green."""
    shows: str
    """A pattern of what it then says: red for another reason proves nothing."""
    covered: str = ""
    """Which second check covers the first edit, if one does: then both are off, and the first alone leaves the test green."""
    slow: bool = False
    """Whether its test takes its time to turn red, as one does that waits for what never comes."""

    @property
    def needs_broker(self) -> bool:
        return not self.test.startswith("tests/unit/")

    @property
    def is_quick(self) -> bool:
        """Whether it needs no broker and no patience: CI runs these."""
        return not self.needs_broker and not self.slow


def install(weakening: Weakening) -> None:
    """Have this process import the engine without the rule. Call it before anything of streamapp is imported."""
    edits: dict[str, list[Edit]] = {}
    for edit in weakening.edits:
        edits.setdefault(f"streamapp.{edit.module}", []).append(edit)
    if imported := edits.keys() & sys.modules.keys():
        raise RuntimeError(f"imported before it could be weakened: {sorted(imported)}")
    sys.meta_path.insert(0, _Finder(edits))


class _Finder(MetaPathFinder):
    def __init__(self, edits: Mapping[str, Sequence[Edit]]) -> None:
        self._edits = edits

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        edits = self._edits.get(fullname)
        if edits is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin, edits)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(fullname, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        """Compile what is left; past the cache, in which the whole engine would find it."""
        source = self.get_data(self.path).decode()
        for edit in self._edits:
            source = edit.of(source)
        return compile(source, self.path, "exec", dont_inherit=True)
