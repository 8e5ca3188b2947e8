"""The checker imports nothing of the engine that it checks, nor does anything that it imports."""

from __future__ import annotations

import ast
from pathlib import Path

SUPPORT = Path(__file__).parents[2] / "support"
CHECKER = ("ledger", "topic_reader", "concurrent_reader", "orders")


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide where they lead"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def test_no_module_of_the_checker_imports_the_engine() -> None:
    waiting, seen = [SUPPORT / f"{name}.py" for name in CHECKER], set[Path]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imports_of(path):
            root = name.split(".")[0]
            assert root not in {"streamapp", "agents", "tables", "faust", "importlib"}, f"{path.name} imports {name}"
            inner = SUPPORT.parents[1].joinpath(*name.split(".")).with_suffix(".py")
            if root == "tests" and inner.is_file():
                waiting.append(inner)
    assert len(seen) > len(CHECKER)
