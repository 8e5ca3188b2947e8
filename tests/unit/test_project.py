"""The project is found from below, its modules are imported in order, and the one that fails is named."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamapp.errors import ConfigurationError, ModuleShadowed, SettingInvalid, UserModuleFailed
from streamapp.project import Project, find_project, import_modules

TABLE = '[tool.streamapp]\napp_id = "shop"\nmodules = ["shop_tables", "shop_agents"]\ncommit_interval = 1\n'


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what a test imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def project(root: Path, **files: str) -> Project:
    plain = {name.replace("__", "/") + ".py": text for name, text in files.items()}
    return find_project(write(root, {"pyproject.toml": TABLE} | plain))


def packages(root: Path, **modules: str) -> Project:
    return find_project(
        write(
            root,
            {"pyproject.toml": TABLE, "shop_tables/__init__.py": "", "shop_agents/__init__.py": ""}
            | {f"{name.replace('__', '/')}.py": text for name, text in modules.items()},
        )
    )


# -- finding


def test_the_nearest_file_with_the_table_is_the_project(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": TABLE, "a/pyproject.toml": "[tool.other]\n", "a/b/c.txt": ""})
    found = find_project(tmp_path / "a" / "b")
    assert found.root == tmp_path.resolve()
    assert (found.app_id, found.modules) == ("shop", ("shop_tables", "shop_agents"))
    assert dict(found.settings) == {"app_id": "shop", "commit_interval": 1}


def test_no_project_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no pyproject.toml with \[tool.streamapp\]"):
        find_project(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[tool.streamapp",
        "tool.streamapp = 1",
        "[tool.streamapp]\napp_id = 5",
        '[tool.streamapp]\napp_id = "a b"',
        '[tool.streamapp]\nmodules = "agents"',
        '[tool.streamapp]\nmodules = ["../agents"]',
        "[tool.streamapp]\nmodules = [1]",
    ],
)
def test_a_malformed_file_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"pyproject.toml": text})
    with pytest.raises(SettingInvalid, match=r"pyproject\.toml"):
        find_project(tmp_path)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('[project]\nversion = "1.4"\n[tool.streamapp]\n', "1.4"),
        ('[project]\nversion = "1.4"\n[tool.streamapp]\napp_version = "blue"\n', "blue"),
        ('[project]\ndynamic = ["version"]\n[tool.streamapp]\n', None),
        ("[tool.streamapp]\n", None),
    ],
)
def test_the_projects_version_is_the_apps_unless_it_names_another(tmp_path: Path, text: str, version: str | None) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert find_project(tmp_path).settings.get("app_version") == version


def test_the_app_id_may_come_from_elsewhere(tmp_path: Path) -> None:
    assert find_project(write(tmp_path, {"pyproject.toml": "[tool.streamapp]\n"})).app_id is None


# -- importing


def test_packages_are_imported_with_all_that_is_in_them_sorted(tmp_path: Path) -> None:
    found = packages(
        tmp_path,
        shop_tables__b="",
        shop_tables__a="",
        shop_agents__deep__x="",
        shop_agents__c="from shop_tables import a",
    )
    write(
        tmp_path,
        {"shop_agents/__main__.py": "raise SystemExit", "shop_agents/data/readme.txt": "", "shop_agents/no-module.py": "1/0"},
    )
    assert import_modules(found) == [
        "shop_tables",
        "shop_tables.a",
        "shop_tables.b",
        "shop_agents",
        "shop_agents.c",
        "shop_agents.deep",
        "shop_agents.deep.x",
    ]
    assert sys.path[0] == str(tmp_path.resolve())


def test_plain_modules_folders_without_init_and_dotted_names_work(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pyproject.toml": '[tool.streamapp]\nmodules = ["shop_single", "shop_bare", "shop_pkg.agents"]\n',
            "shop_single.py": "",
            "shop_bare/x.py": "",
            "shop_pkg/__init__.py": "",
            "shop_pkg/agents.py": "",
            "shop_pkg/other.py": "1/0",
        },
    )
    imported = import_modules(find_project(tmp_path))
    assert imported == ["shop_single", "shop_bare", "shop_bare.x", "shop_pkg", "shop_pkg.agents"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nx.nope\n", r"shop_agents/orders.py:2: AttributeError: 'int' object has no attribute 'nope'"),
        ("import no_such_module\n", r"shop_agents/orders.py:1: ModuleNotFoundError"),
        ("def f(:\n", r"shop_agents/orders.py:1: SyntaxError: "),
        ("raise SystemExit(0)\n", r"shop_agents/orders.py:1: SystemExit: 0"),
        ("raise ValueError('a\\nb')\n", r"ValueError: a b"),
        ("raise KeyError\n", r"orders.py:1: KeyError$"),
        ("import json\njson.loads('{')\n", r"shop_agents/orders.py:2: JSONDecodeError"),
        ("class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E\n", r"orders.py:3: E: <unprintable>"),
        ("from streamapp.errors import Unsupported\nraise Unsupported('no')\n", r"orders.py:2: Unsupported: no"),
    ],
)
def test_a_failing_module_is_named_with_the_users_line(tmp_path: Path, text: str, said: str) -> None:
    found = packages(tmp_path, shop_agents__orders=text)
    with pytest.raises(UserModuleFailed, match=said) as caught:
        import_modules(found)
    assert "module shop_agents.orders could not be imported" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_the_line_is_the_users_innermost_also_through_another_module(tmp_path: Path) -> None:
    found = packages(tmp_path, shop_tables__a="def f():\n    return 1 / 0\n", shop_agents__b="from shop_tables.a import f\nf()\n")
    with pytest.raises(UserModuleFailed, match=r"module shop_agents.b .*: shop_tables/a.py:2: ZeroDivisionError"):
        import_modules(found)


def test_a_listed_module_that_does_not_exist_is_named(tmp_path: Path) -> None:
    found = find_project(write(tmp_path, {"pyproject.toml": TABLE, "shop_tables.py": ""}))
    with pytest.raises(UserModuleFailed, match=r"module shop_agents .* does not exist"):
        import_modules(found)


def test_a_package_of_that_name_outside_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = write(tmp_path / "elsewhere", {"shop_tables/__init__.py": "1/0"})
    monkeypatch.syspath_prepend(elsewhere)
    found = find_project(write(tmp_path / "project", {"pyproject.toml": TABLE}))
    with pytest.raises(ModuleShadowed, match=r"elsewhere/shop_tables.*project/shop_tables.*not in the project"):
        import_modules(found)


def test_a_virtual_environment_inside_the_project_is_not_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = write(tmp_path / ".venv" / "site-packages", {"shop_tables/__init__.py": "1/0"})
    monkeypatch.syspath_prepend(site)
    with pytest.raises(ModuleShadowed, match=r"site-packages"):
        import_modules(project(tmp_path))


def test_a_foreign_package_beats_a_folder_without_init_and_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = write(tmp_path / "elsewhere", {"shop_tables/__init__.py": "1/0"})
    monkeypatch.syspath_prepend(elsewhere)
    found = find_project(write(tmp_path / "project", {"pyproject.toml": TABLE, "shop_tables/a.py": ""}))
    with pytest.raises(ModuleShadowed, match=r"project/shop_tables/__init__.py makes"):
        import_modules(found)


def test_a_module_of_that_name_that_is_already_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = write(tmp_path / "elsewhere", {"shop_tables.py": ""})
    monkeypatch.syspath_prepend(elsewhere)
    import shop_tables  # type: ignore[import-not-found]  # made by this test

    assert shop_tables
    found = find_project(write(tmp_path / "project", {"pyproject.toml": TABLE, "shop_tables.py": ""}))
    with pytest.raises(ModuleShadowed, match="rename one of them"):
        import_modules(found)


def test_a_builtin_module_cannot_be_a_users(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": '[tool.streamapp]\nmodules = ["sys"]\n', "sys.py": ""})
    with pytest.raises(ModuleShadowed, match="built-in"):
        import_modules(find_project(tmp_path))
