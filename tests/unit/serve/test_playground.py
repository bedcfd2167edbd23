"""Every view of the playground in a browser, by keyboard alone."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small_serving import LABELS, head_model, registry_of, running
from tailorbird.config import load_config
from tailorbird.records import Target
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.serve.prometheus import PrometheusCounters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(store: Path, tiny_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("playground")
    shutil.copytree(store, place / "kb")
    flags = {"model.precision": "fp32"}
    registry = ModelRegistry(load_config(flags=flags), PrometheusCounters())
    model = head_model(Target(labels=LABELS))
    model.folder = place
    registry.add("topic", model)
    registry.add_model("writer", str(tiny_decoder))
    registry.add_store("kb", place / "kb")
    with running(registry) as address:
        yield address


@pytest.fixture(params=[("light", 1280), ("light", 360), ("dark", 1280), ("dark", 360)])
def page(request: pytest.FixtureRequest, address: str) -> Iterator[Any]:
    """Return a page; skipped where playwright or Chromium is missing."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium")
    scheme, width = request.param
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": width, "height": 740}, color_scheme=scheme, bypass_csp=True
        )
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        addresses: list[str] = []
        page.on("request", lambda sent: addresses.append(sent.url))
        page.goto(address)
        page.wait_for_selector("#view form")
        yield page
        browser.close()
        assert faults == []
        assert all(url.startswith(address) for url in addresses)


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(s) => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"the keyboard does not reach {selector}")


def look(page: Any) -> None:
    """Check that nothing is wider than the screen; by axe too, where AXE_CORE names its file."""
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    if path := os.environ.get("AXE_CORE"):
        page.add_script_tag(path=path)
        rules = "axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))"
        assert page.evaluate(rules) == []


def turn(page: Any, view: str) -> None:
    page.reload()
    tab_to(page, f"nav a[href='#{view}']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#view form")


def test_every_view_by_keyboard_alone(page: Any) -> None:
    tab_to(page, "textarea")
    page.keyboard.type("the goal of the race")
    tab_to(page, "button.main")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=For sport: goal")
    tab_to(page, "section select")
    page.keyboard.press("ArrowUp")
    tab_to(page, "section button")
    page.keyboard.press("Enter")
    tab_to(page, "button.small")
    look(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Undone")

    turn(page, "chat")
    tab_to(page, "textarea")
    page.keyboard.type("tell of the moon")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Copy as code")
    assert page.inner_text(".turn.user") == "tell of the moon"
    look(page)

    turn(page, "ask")
    tab_to(page, "textarea")
    assert page.input_value("textarea") == ""  # the example's question is the example's
    page.keyboard.type("What may a hotel cost?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".passage mark")
    assert "120 euros" in page.inner_text(".claim")
    tab_to(page, ".claim a")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('.passage.lit') !== null")
    look(page)
    late = "# Hotels\n\nA hotel may cost 150 euros since May. What may a hotel cost: 150 euros.\n"
    files = [{"name": "new.md", "mimeType": "text/markdown", "buffer": late.encode()}]
    page.set_input_files("input[type=file]", files)
    page.wait_for_selector("text=What the document changed")
    look(page)
    page.focus("textarea")
    page.keyboard.press("Control+A")
    page.keyboard.type("Who won the chess tournament?")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Why there is no answer")
    look(page)

    turn(page, "compare")
    tab_to(page, "textarea")
    page.keyboard.type("the soup")
    tab_to(page, "button.main")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sides .bars")
    page.wait_for_selector("text=Copy as code")
    look(page)


def test_nothing_served_says_how_to_begin() -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium")
    with running(registry_of({})) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        for view in ("classify", "chat", "ask", "compare"):
            page.goto(f"{address}/#{view}")
            page.reload()
            page.wait_for_selector("text=tailor serve")
        browser.close()
