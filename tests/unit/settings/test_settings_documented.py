"""Every setting has a docstring beside it, and Faust's names are the ones that Faust has."""

import ast
import inspect
from dataclasses import fields
from itertools import pairwise

import pytest
from faust.types.settings import Settings as FaustSettings

from streamapp.settings import ROOMS, Settings, connection, environment, names, owned, rooms, whole
from streamapp.settings import fields as field_module
from streamapp.settings.names import ALIASES, FAUST_VARIABLES, REFUSED, WITHOUT_EFFECT


def documented(cls: type) -> set[str]:
    """Return the fields of `cls` that a docstring follows."""
    module = ast.parse(inspect.getsource(inspect.getmodule(cls)))  # type: ignore[arg-type]
    body = next(node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)
    return {
        statement.target.id
        for statement, follower in pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(follower, ast.Expr)
        and isinstance(follower.value, ast.Constant)
        and isinstance(follower.value.value, str)
    }


@pytest.mark.parametrize("room", ROOMS.values(), ids=lambda room: room.__name__)
def test_every_setting_is_documented(room: type) -> None:
    assert room.__doc__
    assert documented(room) == {field.name for field in fields(room)}


def test_each_room_has_its_place_in_the_whole() -> None:
    assert set(ROOMS) == {field.name for field in fields(Settings)} - {"origin", "notices"}


def test_names_of_faust_are_names_of_faust() -> None:
    faust = FaustSettings.SETTINGS
    variables = {param.env_name for param in faust.values() if param.env_name}
    assert variables == FAUST_VARIABLES
    own = {"id", "url", "max_poll_records"}
    assert set(ALIASES) - set(faust) <= own
    assert set(faust) >= WITHOUT_EFFECT
    assert set(REFUSED) - set(faust) <= own
    assert set(ALIASES.values()) <= set(names())
    assert not set(names()) & (set(ALIASES) | WITHOUT_EFFECT | set(REFUSED))


@pytest.mark.parametrize(
    "module", [connection, environment, field_module, owned, rooms, whole], ids=lambda module: module.__name__
)
def test_settings_need_no_client_library(module: object) -> None:
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not {name.split(".")[0] for name in imported} & {"faust", "mode", "confluent_kafka", "rocksdict"}
