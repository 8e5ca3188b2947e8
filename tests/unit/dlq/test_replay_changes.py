"""What is sent instead of a letter's own bytes is made by a function, an editor or a file, and read by the agent's model first."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from streamapp.dlq.change import Edit, FromFile, Refused, Transform, Validated
from streamapp.errors import SettingInvalid
from streamapp.pipeline.decode import decoder_for, explainer_for
from streamapp.pipeline.spec import SourceSpec
from tests.support.replay_jobs import AGENT, SOURCE, letter

Fixes: TypeAlias = Callable[..., Transform]


class Order(msgspec.Struct):
    quantity: int


SOURCES = {(AGENT, SOURCE): SourceSpec(topic=SOURCE, decode=decoder_for(Order), explain=explainer_for(Order))}
BROKEN = letter(1, value=b'{"quantity":"2"}', headers=[("trace", b"1")])


@pytest.fixture
def fixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fixes:
    """Write a module of fixes and return a maker of its transforms."""

    def make(body: str, name: str = "fix") -> Transform:
        module = f"fixes_{abs(hash((body, str(tmp_path))))}"
        (tmp_path / f"{module}.py").write_text(f"def fix(key, value, headers):\n    {body}\n")
        return Transform(f"{module}:{name}")

    monkeypatch.syspath_prepend(str(tmp_path))
    return make


def test_a_transform_gives_key_value_and_headers(fixes: Fixes) -> None:
    changed = fixes("return b'k', value.replace(b'\"2\"', b'2'), headers + [('fixed', None)]")(BROKEN)
    assert changed is not None
    assert (changed.key, changed.value, changed.headers) == (b"k", b'{"quantity":2}', [("trace", b"1"), ("fixed", None)])
    assert changed.is_changed


def test_a_transform_that_returns_what_it_got_has_changed_nothing(fixes: Fixes) -> None:
    changed = fixes("return key, value, headers")(BROKEN)
    assert changed is not None and not changed.is_changed


def test_a_transform_that_returns_none_leaves_the_letter(fixes: Fixes) -> None:
    assert Validated(fixes("return None"), SOURCES)(BROKEN) is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise KeyError('sku')", "raised KeyError: 'sku'"),
        ("return value", r"returned bytes, not \(key, value, headers\) or None"),
        ("return key, 'text', headers", "returned a value of str"),
        ("return key, value, 7", "returned headers that are no list"),
        ("return key, value, [('a', 'text')]", "headers whose values are not bytes"),
    ],
)
def test_a_transform_that_fails_refuses_its_letter(fixes: Fixes, body: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        fixes(body)(BROKEN)


@pytest.mark.parametrize("name", ["fix", "nowhere_to_be_found:fix", "os:nothing", "os:sep"])
def test_a_transform_that_is_no_function_is_a_wrong_option(name: str) -> None:
    with pytest.raises(SettingInvalid, match=f"--transform {name}"):
        Transform(name)


def test_a_change_that_the_model_cannot_read_is_refused(fixes: Fixes) -> None:
    with pytest.raises(Refused, match=r"order_processor could not read the value: Order\.quantity has the wrong type"):
        Validated(fixes("return key, value + b' ', headers"), SOURCES)(BROKEN)
    with pytest.raises(Refused, match="takes no record without a value"):
        Validated(fixes("return key, None, headers"), SOURCES)(BROKEN)
    with pytest.raises(Refused, match="no agent another reads orders now"):
        Validated(fixes("return key, None, headers"), SOURCES)(letter(1, agent="another"))


def test_what_is_not_changed_is_not_checked(fixes: Fixes) -> None:
    assert Validated(fixes("return key, value, headers"), SOURCES)(BROKEN) is not None


def test_an_editor_changes_the_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "editor.py"
    script.write_text(
        "import os, sys, pathlib\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "file.write_text(file.read_text().replace('\"2\"', '2') + '\\n')\n"
        "os.utime(file, (2_000_000_000, 2_000_000_000))\n"  # saved, by a clock that need not have ticked
    )
    monkeypatch.setenv("VISUAL", f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}")
    changed = Validated(Edit(), SOURCES)(BROKEN)
    assert changed is not None
    assert (changed.value, changed.is_changed) == (b'{"quantity":2}', True)


def test_an_editor_left_without_saving_leaves_the_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "true")
    assert Edit()(BROKEN) is None


def test_a_value_that_is_no_text_is_not_edited() -> None:
    with pytest.raises(Refused, match="no text"):
        Edit()(letter(1, value=b"\xff"))


def test_a_file_brings_key_and_value(tmp_path: Path) -> None:
    change = FromFile(tmp_path, {BROKEN.id: (b"k", b'{"quantity":3}'), letter(2).id: (letter(2).key, letter(2).value)})
    assert [getattr(change(each), "is_changed", None) for each in (BROKEN, letter(2))] == [True, False]
