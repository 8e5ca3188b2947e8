"""Which tables a function can touch: found by reading its code, so that a table knows its topics before the first record.

Followed: globals, closures, defaults, attributes of modules and of the project's own objects, functions and classes of the
project, and what they reach in turn. A table that is reached another way names its topics itself, with `source=`.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

MAX_VISITS: Final = 5_000
"""Objects looked at per function: a project's helpers are hundreds, and a runaway graph must not hold up the start."""
MAX_ELEMENTS: Final = 200
"""Elements looked at per container."""

_FOREIGN: Final = tuple(
    str(Path(folder).resolve())
    for name, folder in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_OWN: Final = str(Path(__file__).resolve().parents[1])


class Reader:
    """One search: collects what `is_wanted` recognises. `is_opaque` objects are not looked into."""

    def __init__(self, is_wanted: Callable[[Any], bool], is_opaque: Callable[[Any], bool]) -> None:
        self._is_wanted = is_wanted
        self._is_opaque = is_opaque
        self._seen: set[int] = set()
        self._queue: list[Any] = []
        self._kept: list[Any] = []
        """Keeps what was seen alive, so that no id is used twice."""

    def reach(self, *roots: Any) -> list[Any]:
        """Return what the roots can touch, each once."""
        found: list[Any] = []
        self._queue = list(roots)
        while self._queue and len(self._seen) < MAX_VISITS:
            item = self._queue.pop()
            if id(item) in self._seen:
                continue
            self._seen.add(id(item))
            self._kept.append(item)
            if self._is_wanted(item):
                found.append(item)
            elif not self._is_opaque(item):
                self._queue.extend(self._next(item))
        return found

    def _next(self, item: Any) -> Iterator[Any]:
        if isinstance(item, FunctionType):
            yield from self._of_function(item)
        elif isinstance(item, MethodType):
            yield item.__func__
            yield item.__self__
        elif isinstance(item, functools.partial):
            yield item.func
            yield from item.args
            yield from item.keywords.values()
        elif isinstance(item, (staticmethod, classmethod)):
            yield item.__func__
        elif isinstance(item, property):
            yield from (item.fget, item.fset)
        elif isinstance(item, dict):
            yield from list(item.values())[:MAX_ELEMENTS]
        elif isinstance(item, (list, tuple, set, frozenset)):
            yield from list(item)[:MAX_ELEMENTS]
        elif isinstance(item, type):
            if is_project(item):
                for kind in item.__mro__:
                    if is_project(kind):
                        yield from vars(kind).values()
        elif not isinstance(item, (ModuleType, str, bytes, int, float, bool, type(None))) and is_project(type(item)):
            yield from getattr(item, "__dict__", {}).values()
            yield type(item)
        wrapped = getattr(item, "__wrapped__", None) if callable(item) and not isinstance(item, type) else None
        if wrapped is not None:
            yield wrapped

    def _of_function(self, function: FunctionType) -> Iterator[Any]:
        if not is_project(function):
            return
        yield from function.__defaults__ or ()
        yield from (function.__kwdefaults__ or {}).values()
        cells: dict[str, Any] = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                cells[name] = cell.cell_contents
            except ValueError:
                continue  # not yet filled
        yield from cells.values()
        yield from _named(function.__code__, function.__globals__, cells)


def _named(code: CodeType, names: dict[str, Any], cells: dict[str, Any]) -> Iterator[Any]:
    """Yield what the code's global names, and the attributes it takes of them, stand for."""
    nothing = object()
    current: Any = nothing
    for step in dis.get_instructions(code):
        operation = step.opname
        if operation.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
            current = names.get(str(step.argval), nothing)
        elif operation.startswith(("LOAD_DEREF", "LOAD_CLASSDEREF")):
            current = cells.get(str(step.argval), nothing)
        elif operation == "IMPORT_NAME":
            current = sys.modules.get(str(step.argval), nothing)
        elif operation == "IMPORT_FROM":
            imported = _attribute(current, str(step.argval), nothing)
            if imported is not nothing:
                yield imported
            continue
        elif operation.startswith(("LOAD_ATTR", "LOAD_METHOD")):
            current = _attribute(current, str(step.argval), nothing)
        elif operation in ("CACHE", "PUSH_NULL", "PRECALL", "COPY", "NOP", "EXTENDED_ARG"):
            continue
        else:
            current = nothing
            continue
        if current is not nothing:
            yield current
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _named(constant, names, cells)


def _attribute(owner: Any, name: str, nothing: object) -> Any:
    if owner is nothing:
        return nothing
    if isinstance(owner, ModuleType):
        return vars(owner).get(name, nothing)
    try:
        return inspect.getattr_static(owner, name)
    except AttributeError:
        return nothing


@functools.lru_cache(maxsize=4096)
def _is_foreign_file(file: str) -> bool:
    path = str(Path(file).resolve())
    return path.startswith((*_FOREIGN, _OWN))


def is_project(item: Any) -> bool:
    """Return whether a function or class is the user's own: neither the standard library's, nor installed, nor ours."""
    if isinstance(item, FunctionType):
        return not _is_foreign_file(item.__code__.co_filename)
    module = sys.modules.get(getattr(item, "__module__", None) or "")
    if module is None:
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ == "__main__"
    return not _is_foreign_file(file)


__all__ = ["Reader", "is_project"]
