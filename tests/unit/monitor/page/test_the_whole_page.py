"""The page is one document of less than 100 KiB, with nothing from outside, and works where no script runs."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from streamapp.monitor.page.document import PANELS, render
from streamapp.monitor.page.files import policy
from streamapp.monitor.page.shown import Shown
from streamapp.monitor.status import StatusDocument
from tests.support import status_documents

LARGEST = 100 * 1024
EVERYTHING = Shown(may_write=True, has_login=True, shows_values=True)


class Elements(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within in ("style", "script"):
            self.texts[self._within] = self.texts.get(self._within, "") + data


def elements(page: str) -> Elements:
    parser = Elements()
    parser.feed(page)
    return parser


def test_sixty_four_partitions_in_trouble_are_a_page_of_less_than_100_kib() -> None:
    page = render(status_documents.wide(64), EVERYTHING).encode()
    assert len(page) < LARGEST


@pytest.mark.parametrize("document", [status_documents.document(), status_documents.well(), status_documents.wide(3)])
def test_nothing_comes_from_outside(document: StatusDocument) -> None:
    page = render(document, EVERYTHING)
    for name, attributes in elements(page).found:
        for attribute in ("href", "src", "action", "data", "poster", "srcset", "formaction", "xlink:href"):
            address = attributes.get(attribute)
            if address is not None:
                assert address.startswith(("/", "#", "?", "data:,")) and not address.startswith("//"), (name, attributes)
    urls = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert urls <= set(document.peers)
    assert not re.search(r"@import|url\(", page)


def test_the_nine_panels_come_in_the_order_of_need_and_the_navigation_reaches_each() -> None:
    found = elements(render(status_documents.document(), Shown())).found
    wanted = [name for name, _ in PANELS]
    assert len(wanted) == 9
    assert [attributes["id"] for name, attributes in found if name == "section"] == wanted
    links = [attributes["href"] for name, attributes in found if name == "a"]
    assert [each for each in links if each in {f"#{name}" for name in wanted}] == ["#verdict", *(f"#{name}" for name in wanted)]


def test_it_has_one_main_and_headings_tables_have_captions_and_column_headers() -> None:
    found = elements(render(status_documents.document(), Shown())).found
    names = [name for name, _ in found]
    assert (names.count("main"), names.count("h1"), names.count("footer")) == (1, 1, 1)
    assert names.count("caption") == names.count("table") == 7
    at_heads = [attributes for name, attributes in found if name == "th" and "data-f" in attributes]
    assert at_heads and all(attributes["scope"] == "col" for attributes in at_heads)
    labelled = [attributes for name, attributes in found if name in ("section", "nav")]
    assert labelled and all("aria-label" in each or "aria-labelledby" in each for each in labelled)


def test_without_a_script_the_browser_loads_it_again_and_nothing_hangs_on_a_handler() -> None:
    page = render(status_documents.document(), Shown())
    assert "<noscript><meta http-equiv=refresh content=15></noscript>" in page
    handlers = [attributes for _, attributes in elements(page).found if any(each.startswith("on") for each in attributes)]
    assert handlers == []
    assert [attributes for _, attributes in elements(page).found if "style" in attributes] == []


def test_its_policy_allows_the_script_and_the_style_that_it_has_and_no_others() -> None:
    texts = elements(render(status_documents.document(), Shown())).texts
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(texts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy()
    assert "unsafe" not in policy()
    assert policy().startswith("default-src 'none';")


def test_a_filter_keeps_what_is_behind_and_what_is_not_known() -> None:
    document = status_documents.document(
        partitions=(
            status_documents.partition(0, lag=0),
            status_documents.partition(1, lag=7),
            status_documents.partition(2, lag=None),
        )
    )
    rows = [attributes for name, attributes in elements(render(document, Shown(only_lag=True))).found if name == "tr"]
    assert ["hidden" in each for each in rows[1:4]] == [True, False, False]


@pytest.mark.parametrize(
    ("shown", "address"), [(Shown(), "/"), (Shown(only_lag=True, chart="a/1", range="6h"), "?only=lag&chart=a%2F1&range=6h")]
)
def test_an_address_keeps_the_view(shown: Shown, address: str) -> None:
    assert shown.address() == address
