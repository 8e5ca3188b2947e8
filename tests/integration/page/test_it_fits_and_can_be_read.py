"""The page fits a desk and a phone, light and dark, with and without JavaScript, and all of its text can be read.

Screens are kept under build/screenshots/, to be looked at.
"""

from __future__ import annotations

import pytest

from tests.support.browser import OVERFLOW, Browser

DESK, PHONE = 1280, 360
CONTRAST = 4.5

MEASURE_CONTRAST = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (color, under) => {
    canvas.clearRect(0, 0, 1, 1);
    if (under) { canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1); }
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b];
  };
  const css = (rgb) => `rgb(${rgb.join(",")})`;
  const behind = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) layers.unshift(getComputedStyle(each).backgroundColor);
    return layers.reduce((under, color) => css(rgba(color, under)), "white");
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((each) => each / 255).map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const poor = [], seen = new Set();
  let measured = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(element.tagName)) continue;
    if (seen.has(element) || element.closest("svg") || !element.checkVisibility() || element.closest(".sr, .skip")) continue;
    seen.add(element);
    measured += 1;
    const under = behind(element), text = rgba(getComputedStyle(element).color, under);
    const [a, b] = [light(text), light(rgba(under))].sort((x, y) => y - x), contrast = (a + 0.05) / (b + 0.05);
    if (contrast < LEAST) poor.push(`${element.tagName}.${element.className} ${element.textContent.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return {measured, poor};
})()
"""
SHAPES = """
[...document.querySelectorAll("#partitions-table b, #findings-table b")].map((badge) => {
  const shape = getComputedStyle(badge, "::before");
  return [badge.textContent, badge.className.slice(0, 2), getComputedStyle(badge).color, shape.clipPath + shape.borderRadius, parseFloat(shape.width)];
})
"""
WIDEST = """
[...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.closest(".bar nav, .sr, .skip, svg, select"))
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map((e) => e.outerHTML.slice(0, 90))
"""


@pytest.mark.parametrize(
    ("width", "dark", "script"),
    [
        (DESK, False, True),
        (DESK, True, True),
        (DESK, False, False),
        (PHONE, False, True),
        (PHONE, True, True),
        (PHONE, True, False),
    ],
)
def test_it_fits_and_can_be_read(browser: Browser, url: str, width: int, dark: bool, script: bool) -> None:
    with browser.page(width=width, dark=dark, script=script) as page:
        page.open(f"{url}/?chart=orders/3")
        page.screenshot(f"page-{width}-{'dark' if dark else 'light'}-{'script' if script else 'no-script'}")
        assert page.evaluate(OVERFLOW) == 0, page.evaluate(WIDEST)
        if width == PHONE:
            assert page.evaluate(WIDEST) == []
        contrast = page.evaluate(MEASURE_CONTRAST.replace("LEAST", str(CONTRAST)))
        assert contrast["poor"] == []
        assert contrast["measured"] > 200
        assert page.evaluate("document.body.dataset.looks ?? null") is None or script
        assert page.complaints() == []
        assert {each.partition("?")[0] for each in page.requested()} <= {f"{url}/", f"{url}/streamapp/status.json"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_each_status_has_a_word_a_colour_and_a_shape_of_its_own(browser: Browser, url: str, dark: bool) -> None:
    with browser.page(dark=dark) as page:
        page.open(f"{url}/")
        badges = page.evaluate(SHAPES)
    statuses = [badge for badge in badges if badge[1] == "s-"]
    assert len({badge[0] for badge in statuses}) == len({badge[3] for badge in statuses}) == len(statuses) == 8
    assert len({badge[2] for badge in statuses}) >= 6
    assert all(badge[4] > 8 for badge in badges)
    levels = [badge for badge in badges if badge[1] == "l-"]
    assert len({badge[0] for badge in levels}) == len({badge[3] for badge in levels}) == 4
