"""Whatever a topic, an agent, an error or a setting is called: it is text on the page, and never markup."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapp.monitor.page import forms
from streamapp.monitor.page.document import render
from streamapp.monitor.page.login import login_page
from streamapp.monitor.page.markup import raw, tag, text
from streamapp.monitor.page.shown import Shown
from streamapp.monitor.status import StatusDocument
from tests.support import status_documents

ATTACKS = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'><svg/onload=alert(1)>", "</title><script>", "</style><b>",
    "<!--", "-->", "]]>", "&lt;b&gt;", "javascript:alert(1)", "a b", "=", "`", "\x00<b>", "\ud800", "{{7*7}}", "</script><script>",
)  # fmt: skip
hostile = st.one_of(
    st.sampled_from(ATTACKS), st.text(alphabet=st.sampled_from("<>\"'&=/ a-!`\n\t\x00\x85\u2028é"), min_size=1, max_size=12)
)
SHOWN = Shown(may_write=True, has_login=True, chart="nothing/1")


class Skeleton(HTMLParser):
    """Elements with the names of their attributes: what hostile text would change, if it were markup."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # A row's key is told where its first cell does not tell it: where two names make one.
        self.found.append((tag, *(name for name, _ in attrs if name != "data-key")))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment",))


def skeleton(page: str) -> list[tuple[str, ...]]:
    parser = Skeleton()
    parser.feed(page)
    parser.close()
    return parser.found


def renamed(value: Any, name: Callable[[], str]) -> Any:
    """Return a document whose texts are all called something else."""
    if isinstance(value, str):
        return name()
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(
            value, **{each: renamed(getattr(value, each), name) for each in value.__struct_fields__ if each != "change"}
        )
    if isinstance(value, dict):
        return {f"{name()}{at}": each for at, each in enumerate(value.values())}
    if isinstance(value, tuple):
        return tuple(renamed(each, name) for each in value)
    return value


def test_a_documents_texts_are_renamed_before_it_is_believed() -> None:
    named = renamed(status_documents.document(), lambda: "xyzzy")
    assert isinstance(named, StatusDocument)
    assert "TimeoutError" not in render(named, SHOWN)
    assert render(named, SHOWN).count("xyzzy") > 50


@settings(max_examples=40, deadline=None)
@given(name=hostile)
def test_a_hostile_name_adds_no_element_and_no_attribute(name: str) -> None:
    document = status_documents.document()
    assert skeleton(render(renamed(document, lambda: name), SHOWN)) == skeleton(render(renamed(document, lambda: "xyzzy"), SHOWN))


@settings(max_examples=60, deadline=None)
@given(name=hostile)
def test_what_a_form_was_given_and_what_a_command_said_is_text(name: str) -> None:
    def pages(each: str) -> list[list[tuple[str, ...]]]:
        given_ = {"fingerprint": each, "ids": each, "dlq": each, "reason": each}
        return [
            skeleton(forms.ask("discard", given_, each, each)),
            skeleton(forms.preview("replay", each, each, 0, each, each, each)),
            skeleton(forms.job(1, each, each, None)),
            skeleton(login_page(each, failed=True)),
        ]

    assert pages(name) == pages("xyzzy")


@pytest.mark.parametrize("name", ATTACKS)
def test_a_page_with_any_name_is_utf_8(name: str) -> None:
    assert render(renamed(status_documents.document(), lambda: name), SHOWN).encode()


def test_markup_is_not_escaped_twice_and_text_is_once() -> None:
    assert tag("p", tag("b", "<"), raw("<i>"), "&") == "<p><b>&lt;</b><i>&amp;</p>"
    assert text("<", None, 1, ["&", tag("br")]) == "&lt;1&amp;<br>"


def test_a_value_that_could_end_an_attribute_is_quoted_and_one_that_could_not_is_bare() -> None:
    assert tag("a", href='/"x" onclick=y') == '<a href="/&quot;x&quot; onclick=y"></a>'
    assert tag("a", href="/x", hidden=True, title=None, inert=False) == "<a href=/x hidden></a>"
