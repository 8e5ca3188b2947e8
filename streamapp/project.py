"""The user's project: found by its pyproject.toml, its modules imported, loudly where one fails."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from streamapp.errors import ConfigurationError, ModuleShadowed, SettingInvalid, UserModuleFailed
from streamapp.settings.fields import NAME_CHARACTERS, NAME_PATTERN, require_match

TABLE: Final = "[tool.streamapp]"
App = TypeVar("App")


@dataclass(frozen=True, slots=True)
class Project:
    """What `[tool.streamapp]` of the nearest pyproject.toml says."""

    root: Path
    """The folder of that file, resolved: user modules live here and nowhere else."""
    app_id: str | None
    """`app_id`, None where the file names none."""
    modules: tuple[str, ...]
    """The packages and modules to import, submodules included."""
    settings: Mapping[str, object]
    """The whole table without `modules`, with the project's own version as `app_version` where it names none: `load`'s second source."""


def find_project(start: Path) -> Project:
    """Return the project of the nearest pyproject.toml with `[tool.streamapp]`, from `start` upward.

    Raises ConfigurationError: there is none. Raises SettingInvalid: one on the way is no TOML, or its table is malformed.
    """
    folder = start.resolve()
    for root in (folder, *folder.parents):
        found = _table(root / "pyproject.toml")
        if found is not None:
            return _project(root, *found)
    raise ConfigurationError(
        f"no pyproject.toml with {TABLE} in {folder} or above: run in the project's folder, or add the table "
        '(app_id = "my-app", modules = ["agents"])'
    )


def _table(file: Path) -> tuple[Mapping[str, object], str | None] | None:
    """Return our table of the file, and the version of the project that it describes."""
    try:
        with file.open("rb") as handle:
            document = tomllib.load(handle)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingInvalid(f"{file}: cannot be read: {error}") from error
    tool = document.get("tool")
    table = tool.get("streamapp") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise SettingInvalid(f"{file}: tool.streamapp must be a table, {TABLE}")
    described = document.get("project")
    version = described.get("version") if isinstance(described, dict) else None
    return None if table is None else (table, version if isinstance(version, str) else None)


def _project(root: Path, table: Mapping[str, object], version: str | None) -> Project:
    app_id = table.get("app_id")
    if app_id is not None:
        require_match("app_id", app_id, NAME_PATTERN, f"{NAME_CHARACTERS}; set in {TABLE} of {root / 'pyproject.toml'}")
    names = table.get("modules", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and _is_module_name(name) for name in names):
        raise SettingInvalid(
            f'{root / "pyproject.toml"}: {TABLE} modules must be a list of module names, as ["tables", "agents"]'
        )
    released = {} if version is None else {"app_version": version}
    settings = MappingProxyType({**released, **{key: value for key, value in table.items() if key != "modules"}})
    return Project(root, str(app_id) if app_id is not None else None, tuple(dict.fromkeys(names)), settings)


def _is_module_name(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def import_modules(project: Project) -> list[str]:
    """Import every listed module and package with all its submodules, sorted, and return their names in the order of import.

    The project's folder goes first on `sys.path`. The app must exist by now: the modules say `from streamapp import app`
    (`project_app` sees to that). Raises UserModuleFailed: one could not be imported; ModuleShadowed: one is not the project's own.
    """
    root = str(project.root)
    sys.path[:] = [root, *(entry for entry in sys.path if entry != root)]
    importlib.invalidate_caches()
    imported: list[str] = []
    for name in project.modules:
        parents = [name[:dot] for dot, letter in enumerate(name) if letter == "."]
        for module in (*parents, *_with_submodules(project, name)):
            _import(project, module)
            imported.append(module)
    return list(dict.fromkeys(imported))


def _with_submodules(project: Project, name: str) -> Iterator[str]:
    """Yield `name` and, sorted, what lies below it, also in folders without `__init__.py` (Python would import those too)."""
    yield name
    folder = project.root.joinpath(*name.split("."))
    if not folder.is_dir():
        return
    below: set[str] = set()
    for entry in folder.iterdir():
        module = entry.name if entry.is_dir() else inspect.getmodulename(entry.name)
        if module is None or not module.isidentifier() or module.startswith("__"):
            continue
        if entry.is_file() or any(entry.rglob("*.py")):
            below.add(module)
    for module in sorted(below):
        yield from _with_submodules(project, f"{name}.{module}")


def _import(project: Project, name: str) -> None:
    """Import one module: looked up first, so that a foreign one of that name is not even run."""
    try:
        spec = _spec(name)
        if spec is None:
            expected = project.root.joinpath(*name.split("."))
            raise UserModuleFailed(f"module {name} of {TABLE} modules does not exist: no {expected}.py and no folder {expected}")
        _require_own(project, name, spec)
        importlib.import_module(name)
    except (UserModuleFailed, ModuleShadowed):
        raise
    # The user's code runs here: whatever it raises, sys.exit() too (the worker would end as if all were well), names the module.
    except (Exception, SystemExit) as error:
        raise UserModuleFailed(f"module {name} could not be imported: {_where(project, error)}{_what(error)}") from error


def _spec(name: str) -> ModuleSpec | None:
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__spec__ is not None:
        return loaded.__spec__
    return importlib.util.find_spec(name)


def _require_own(project: Project, name: str, spec: ModuleSpec) -> None:
    """Refuse a module found anywhere but at its own place under the root.

    Inside the root is not enough: a virtual environment usually lies there, and other packages own names such as `agents`.
    """
    expected = project.root.joinpath(*name.split("."))
    own = {expected, *(expected.parent / f"{expected.name}{suffix}" for suffix in importlib.machinery.all_suffixes())}
    found = Path(spec.origin).resolve() if spec.has_location and spec.origin else None
    if found is None and spec.submodule_search_locations:
        found = Path(next(iter(spec.submodule_search_locations))).resolve()
    elif found is not None and found.stem == "__init__":
        found = found.parent
    if found not in {path.resolve() for path in own}:
        hint = "rename one of them" if expected.is_dir() or any(path.exists() for path in own) else "it is not in the project"
        if (expected.is_dir() and not (expected / "__init__.py").exists()) and found is not None:
            hint = f"an {expected / '__init__.py'} makes the project's own come first"
        raise ModuleShadowed(f"module {name} resolves to {found or spec.origin}, not to the project's {expected}: {hint}")


def _where(project: Project, error: BaseException) -> str:
    """Return `file:line: ` of the innermost frame in the project's own files, relative to the root; empty where there is none."""
    if isinstance(error, SyntaxError) and error.filename and _is_own(project, error.filename):
        return f"{Path(error.filename).resolve().relative_to(project.root)}:{error.lineno}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(project, frame.filename)]
    if not frames:
        return ""
    return f"{Path(frames[-1].filename).resolve().relative_to(project.root)}:{frames[-1].lineno}: "


def _is_own(project: Project, filename: str) -> bool:
    path = Path(filename).resolve()
    if not path.is_relative_to(project.root) or "site-packages" in path.parts:
        return False
    top = path.relative_to(project.root).parts[0]
    # Framework files are below the root when the project is the framework's own checkout.
    return top in {part for name in project.modules for part in (name.split(".")[0], f"{name.split('.')[0]}.py")}


def _what(error: BaseException) -> str:
    """Return type and text of the error, as one line."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # __str__ is the user's code
        text = "<unprintable>"
    line = " ".join(text.split())
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
