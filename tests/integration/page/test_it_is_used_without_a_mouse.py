"""The page has the landmarks, headers and names that a screen reader goes by, and every control is reached with the keyboard."""

from __future__ import annotations

from typing import Any

from tests.support.browser import Browser


def test_it_is_a_document_of_landmarks_headers_and_names(browser: Browser, url: str) -> None:
    with browser.page() as page:
        page.open(f"{url}/")
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in nodes:
        roles.setdefault(node.get("role", {}).get("value", ""), []).append(node.get("name", {}).get("value", ""))
    assert {"banner", "main", "contentinfo", "navigation"} <= set(roles)
    assert {"Partitions", "Lag over time", "Dead letters", "Agents", "Transactions", "Tables", "Doctor", "Configuration"} <= set(
        roles["region"]
    )
    assert "orders/3" in roles["rowheader"]
    assert "Status" in roles["columnheader"]
    assert all(roles["table"]) and len(roles["table"]) == 7
    assert all(name for role in ("button", "link", "combobox", "radio", "image", "img") for name in roles.get(role, []))


def test_every_control_is_reached_with_the_tabulator_and_shows_it(browser: Browser, url: str) -> None:
    with browser.page() as page:
        page.open(f"{url}/")
        reached = []
        for _ in range(16):
            page.press("Tab", 9)
            reached.append(page.evaluate("document.activeElement.textContent.slice(0, 24)"))
            outline: Any = page.evaluate(
                "[getComputedStyle(document.activeElement).outlineStyle, document.activeElement.tagName]"
            )
            assert outline[0] != "none", outline
    assert reached[0] == "Skip to the verdict"
    assert {"Reload", "Partitions", "Configuration", "All", "Only with lag"} <= set(reached)
