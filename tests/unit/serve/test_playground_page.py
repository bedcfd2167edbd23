"""The playground: its files, what stands behind it, and a look at it in a browser."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from small_serving import LABELS, head_model, registry_of, running
from tailorbird.rag.labelled_vectors import LabelledVectors, VoteSettings
from tailorbird.records import Example, Target

PAGE = files("tailorbird.serve") / "playground"
ONE = Target(labels=LABELS)


def arm(place: Path, answers: list[tuple[str, str, str, float]]) -> Path:
    """Write the predictions of an arm: text, label, prediction, confidence."""
    place.mkdir(parents=True)
    rows = [
        {"row": n, "text": t, "label": y, "predicted": p, "confidence": c}
        for n, (t, y, p, c) in enumerate(answers, 1)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (place / "predictions.jsonl").write_text(lines, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    run = tmp_path_factory.mktemp("run") / "arms"
    one, other = head_model(ONE), head_model(ONE)
    one.folder = arm(run / "one", [("a", "food", "food", 0.6), ("b", "food", "space", 0.5),
                                   ("c", "sport", "sport", 0.9)])  # fmt: skip
    other.folder = arm(run / "other", [("a", "food", "sport", 0.7), ("b", "food", "food", 0.95),
                                       ("c", "sport", "sport", 0.4)])  # fmt: skip
    known: list[tuple[str, str]] = []
    other.learn = lambda text, label: known.append((text, label))
    other.unlearn = lambda text, label: known.remove((text, label))
    with running(registry_of({"run/one": one, "run/other": other})) as address:
        yield address


def sources() -> dict[str, str]:
    return {entry.name: entry.read_text(encoding="utf-8") for entry in PAGE.iterdir()}


def test_files_are_small_and_ask_nobody_else() -> None:
    texts = sources()
    assert sum(len(text.encode()) for text in texts.values()) <= 150_000
    for name, text in texts.items():
        assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {"http://www.w3.org/2000/svg"}, (
            name
        )
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|document\.write", text)
    assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=", texts["index.html"])
    imports = {i for t in texts.values() for i in re.findall(r'from "\./([\w.]+)"', t)}
    assert imports and imports <= set(texts)


def test_every_file_is_served_as_what_it_is(address: str) -> None:
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg"}
    for name, text in sources().items():
        answer = httpx2.get(f"{address}/playground/{name}")
        assert answer.text == text
        assert answer.headers["content-type"].startswith(kinds[name.rpartition(".")[2]])
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert httpx2.get(address).text == sources()["index.html"]
    for name in ("nothing.js", "..%2fapp.py", "%2e%2e/app.py"):
        assert httpx2.get(f"{address}/playground/{name}").status_code == 404


def test_where_two_runs_disagree(address: str) -> None:
    asked = httpx2.get(f"{address}/v1/disagreements?first=run/one&second=run/other").json()
    assert (asked["total"], asked["examples"]) == (2, 3)
    assert asked["data"] == [
        {"text": "b", "label": "food", "first": "space", "second": "food"},
        {"text": "a", "label": "food", "first": "food", "second": "sport"},
    ]
    missing = httpx2.get(f"{address}/v1/disagreements?first=run/one&second=none")
    assert missing.status_code == 404


def test_corrections_are_learnt_or_kept_and_undone(address: str, tmp_path: Path) -> None:
    def send(model: str, text: str, label: str) -> httpx2.Response:
        body = {"model": model, "text": text, "label": label}
        return httpx2.post(f"{address}/v1/corrections", json=body)

    learnt = send("run/other", "a pear", "food").json()
    assert learnt["learnt"] and "uses this correction until" in learnt["message"]
    kept = [send("run/one", f"text {n}", "space").json() for n in range(3)]
    assert not any(row["learnt"] for row in kept)
    assert "corrections.jsonl" in kept[0]["message"]
    assert send("run/one", "x", "music").status_code == 400
    assert send("run/one", " ", "food").status_code == 400
    for row in (learnt, kept[1]):
        assert httpx2.delete(f"{address}/v1/corrections/{row['id']}").json()["deleted"]
        assert httpx2.delete(f"{address}/v1/corrections/{row['id']}").status_code == 404


def test_a_correction_stands_in_the_file_as_a_row_to_train_on(tmp_path: Path) -> None:
    from tailorbird.data.read import read_examples

    model = head_model(ONE)
    model.folder = tmp_path
    with running(registry_of({"one": model})) as address:
        rows = [("a pear\nand more", "food"), ("the moon", "space"), ("a goal", "sport")]
        sent = [
            httpx2.post(f"{address}/v1/corrections", json={"model": "one", "text": t, "label": y})
            for t, y in rows
        ]
        httpx2.delete(f"{address}/v1/corrections/{sent[1].json()['id']}")
    read = read_examples(tmp_path / "corrections.jsonl").examples
    assert [(e.text, e.label) for e in read] == [rows[0], rows[2]]


def test_a_memory_forgets_what_it_was_told_last() -> None:
    vectors = np.eye(3, dtype=np.float32)
    examples = [Example("a", "x"), Example("b", "y"), Example("a", "x")]
    memory = LabelledVectors(vectors, examples, ["x", "y"])
    settings = VoteSettings(1, 0.1)
    before = memory.probabilities(vectors[:2], settings)
    memory.add(np.asarray([[0.6, 0.8, 0]], dtype=np.float32), [Example("a", "y")])
    memory.remove("a", "y")
    assert np.array_equal(memory.probabilities(vectors[:2], settings), before)
    memory.remove("a", "x")
    assert len(memory.vectors) == len(memory.examples) == 2
    assert np.array_equal(memory.vectors, vectors[:2])  # the last of those that are alike
    with pytest.raises(ValueError, match="not in list"):
        memory.remove("c", "x")


# --- in a browser -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_by_keyboard_in_a_browser(address: str, width: int, scheme: Any) -> None:
    """Skipped where playwright or Chromium is missing; ``AXE_CORE`` names axe-core's file."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser_path = shutil.which("chromium")
    if browser_path is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": width, "height": 740}, color_scheme=scheme, bypass_csp=True
        )
        requests: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        page.wait_for_selector("textarea")
        page.focus("textarea")
        page.keyboard.type("the goal of the race")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Which words mattered")
        assert page.inner_text(".bars .first .name") == "sport"
        page.wait_for_selector("text=For sport: goal")
        _look(page)
        page.focus("nav a[href='#compare']")
        page.keyboard.press("Enter")
        page.wait_for_selector(".list button")
        page.focus(".list button")
        page.keyboard.press("Enter")
        page.wait_for_selector("#sides .bars")
        assert page.locator("#sides .bars").count() == 2
        _look(page)
        browser.close()
    assert faults == []
    assert all(url.startswith(address) for url in requests)


def _look(page: Any) -> None:
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    if path := os.environ.get("AXE_CORE"):
        page.add_script_tag(path=path)
        found = page.evaluate(
            "axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))"
        )
        assert found == []
