"""The report in a real browser: it shows itself without a network, at any width, to a pointer and to a keyboard."""

import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from analysis.diagram.cells import build
from analysis.diagram.influence import influence
from analysis.diagram.marks import phase_legend, stems, time_axis, time_legend
from analysis.draw import write_report
from analysis.page.page import write_page
from analysis.paper import page as figures
from analysis.paper.figure import named
from analysis.paper.results import result
from pipeline.ledger import Ledger
from tests.support.synthetic import CONFIG, fill_ledger, grid_sweep, make_sweep, make_trial, wd_vs_orthograd
from tests.support.synthetic_baselines import AXES, HORIZON, three_methods
from tests.support.synthetic_baselines import CONFIG as BASELINE

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the PATH")
PATIENCE_S = 30


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A headless Chromium with a fresh profile, without a network."""
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "host-resolver-rules=MAP * ~NOTFOUND",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
        "window-size=1600,1400",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Chrome, page: Path) -> None:
    browser.get(page.as_uri())
    WebDriverWait(browser, PATIENCE_S).until(lambda b: b.find_elements(By.CSS_SELECTOR, "body[data-ready=yes]"))


def cells(browser: Chrome) -> list[WebElement]:
    """The cells of the diagram, in its order."""
    return sorted(
        browser.find_elements(By.CSS_SELECTOR, "[role=gridcell][data-cell]"),
        key=lambda cell: int(cell.get_attribute("data-cell")),
    )


def complaints(browser: Chrome) -> list[str]:
    """What the browser's console says."""
    return [entry["message"] for entry in browser.get_log("browser")]


def lines(browser: Chrome, chart: int = 0) -> list[str]:
    """The paths of the curves in a chart."""
    (drawing,) = browser.find_elements(By.CSS_SELECTOR, ".lines-of-cell")[chart : chart + 1]
    return [line.get_attribute("d") for line in drawing.find_elements(By.TAG_NAME, "path")]


def panel(browser: Chrome) -> str:
    """The text of what the chosen cell has opened; empty where none is open."""
    return browser.find_element(By.TAG_NAME, "aside").text


def tooltip(browser: Chrome, text: str) -> str:
    """The tooltip, once it says ``text``."""

    def says(driver: Chrome) -> str | None:
        tip = driver.find_element(By.ID, "tip")
        return tip.text if tip.is_displayed() and text in tip.text else None

    return WebDriverWait(browser, PATIENCE_S).until(says)


def point_at(browser: Chrome, element: WebElement, *, click: bool = False) -> None:
    """Move the pointer onto the middle of an element."""
    chain = ActionChains(browser).scroll_to_element(element).move_to_element(element)
    (chain.click() if click else chain).perform()


def press(browser: Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def focused(browser: Chrome) -> str:
    """The label of what has the focus."""
    return browser.switch_to.active_element.get_attribute("aria-label") or ""


def seen_as(browser: Chrome, width: int, scheme: str = "light") -> None:
    """Have the window so wide, of someone who prefers light or dark."""
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


@pytest.fixture
def at_any_width(browser: Chrome) -> Iterator[Chrome]:
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture(scope="module")
def row_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "row.html"
    diagram = build(make_sweep(wd_vs_orthograd()))
    write_page(diagram, path, influence=influence(diagram))
    return path


@pytest.fixture(scope="module")
def grid_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "grid.html"
    diagram = build(make_sweep(grid_sweep(), doc='A "sweep" </script><b>of</b> two axes'))
    write_page(diagram, path, influence=influence(diagram))
    return path


@pytest.fixture(scope="module")
def finals_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    ledger = Ledger.open(str(folder / "ledger"), create=True)
    fill_ledger(ledger, "made", three_methods(), horizon_steps=HORIZON, config=BASELINE, axes=AXES)
    return write_report(ledger, "made", folder)[0]


def test_the_page_is_self_contained(row_page):
    text = row_page.read_text(encoding="utf-8")
    assert "<link" not in text
    assert "src=" not in text
    assert "url(" not in text
    assert len(text) < 500_000


def test_drawing(browser, row_page):
    opened(browser, row_page)
    assert "and does ⊥Grad need any?" in browser.find_element(By.TAG_NAME, "h1").text
    assert len(cells(browser)) == 8
    assert not complaints(browser)
    # The soonest cell is open before anybody chooses: a training and a test curve for each of its seeds.
    assert panel(browser).startswith("⊥AdamW")
    titles = [each.text for each in browser.find_elements(By.CSS_SELECTOR, ".chart figcaption")]
    assert titles == ["accuracy", "loss\nlog scale", "sc true fraction", "parameter norm"]
    assert [len(lines(browser, chart)) for chart in range(4)] == [10, 10, 5, 5]


def test_hover(browser, row_page):
    opened(browser, row_page)
    # On its label, and on the marks of a seed.
    point_at(browser, cells(browser)[5].find_element(By.TAG_NAME, "span"))
    said = tooltip(browser, "AdamW, weight decay 8")
    for part in ("0.80 [0.28, 0.99]", "636", "RMST(1500) of t_gen"):
        assert part in said
    point_at(browser, cells(browser)[0].find_element(By.CSS_SELECTOR, ".seed svg path"))
    assert "not by 1500" in tooltip(browser, "seed 0: t_mem (")


def test_click(browser, row_page):
    opened(browser, row_page)
    before = lines(browser)
    point_at(browser, cells(browser)[0], click=True)
    said = panel(browser)
    assert said.startswith("AdamW, weight decay 0")
    assert lines(browser)
    assert not set(lines(browser)) & set(before)
    assert "frozen (919, 964]" in said
    assert said.count("memorization (not by τ)") == 5
    # A mark inside a cell chooses that cell, too.
    point_at(browser, cells(browser)[7].find_element(By.CSS_SELECTOR, ".mean path"), click=True)
    assert panel(browser).startswith("⊥AdamW")
    assert lines(browser) == before


@pytest.mark.parametrize("page", ["row_page", "grid_page", "finals_page"])
def test_the_keyboard_reaches_and_opens_every_cell(browser, page, request):
    opened(browser, request.getfixturevalue(page))
    press(browser, Keys.TAB)
    order = {cell.get_attribute("aria-label") for cell in cells(browser)}
    assert focused(browser) in order, "the diagram is the first stop of the Tab key"
    browser.execute_script(
        "window.reached = [document.activeElement.ariaLabel];"
        "document.addEventListener('focusin', event => reached.push(event.target.ariaLabel))"
    )
    along = [*[Keys.ARROW_RIGHT] * 4, *[Keys.ARROW_LEFT] * 4, Keys.ARROW_DOWN]
    press(browser, Keys.HOME, *along * 8)
    assert set(browser.execute_script("return reached")) == order
    ring = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid", "what has the focus can be seen"
    chosen = focused(browser)
    press(browser, Keys.ENTER)
    assert chosen.startswith(panel(browser).splitlines()[0])
    assert browser.switch_to.active_element.get_attribute("aria-selected") == "true"
    press(browser, Keys.ESCAPE)
    assert panel(browser) == ""
    assert focused(browser) == chosen
    press(browser, Keys.SPACE)
    assert panel(browser)
    press(browser, Keys.TAB, Keys.ENTER)
    assert panel(browser) == "", "the next stop is the button that closes it"


TEXTS = """
const range = document.createRange(), boxes = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, parent = node.parentElement;
  if (!node.textContent.trim() || /SCRIPT|STYLE|TITLE/i.test(parent.tagName)) continue;
  if (!parent.checkVisibility({visibilityProperty: true})) continue;
  if (parseFloat(getComputedStyle(parent).fontSize) === 0) continue;
  range.selectNodeContents(node);
  for (const box of range.getClientRects())
    if (box.width > 1) boxes.push([node.textContent.trim(), box.left, box.top, box.right, box.bottom]);
}
const wrong = [];
boxes.forEach(([text, left, top, right, bottom], index) => {
  if (left < -1 || right > innerWidth + 1) wrong.push("cut: " + text);
  for (const [other, l, t, r, b] of boxes.slice(index + 1))
    if (Math.min(right, r) - Math.max(left, l) > 1.5 && Math.min(bottom, b) - Math.max(top, t) > 4)
      wrong.push("overlap: " + text + " | " + other);
});
if (document.documentElement.scrollWidth > innerWidth) wrong.push("scrolls sideways");
return wrong;
"""


@pytest.mark.parametrize("page", ["row_page", "grid_page", "finals_page"])
def test_any_width(at_any_width, page, request):
    """Nothing overlaps, is cut, or scrolls sideways; and the diagram is as wide as there is room."""
    opened(at_any_width, request.getfixturevalue(page))
    for width in (360, 1000, 1600, 2500):
        seen_as(at_any_width, width)
        assert at_any_width.execute_script(TEXTS) == [], width
        last = at_any_width.find_elements(By.CSS_SELECTOR, "aside section:not([hidden]) td:last-child")
        assert all(cell.text for cell in last), "a table's cells are all there as cards, too"
        main = at_any_width.find_element(By.TAG_NAME, "main").rect
        assert main["width"] > 0.86 * width


def test_dark(at_any_width, row_page):
    opened(at_any_width, row_page)
    colours = "const look = getComputedStyle(document.body); return [look.backgroundColor, look.color]"
    seen = {}
    for scheme in ("light", "dark"):
        seen_as(at_any_width, 1600, scheme)
        seen[scheme] = [sum(map(int, re.findall(r"\d+", text))) for text in at_any_width.execute_script(colours)]
    assert seen["light"][0] > 3 * 240 > 3 * 60 > seen["light"][1]
    assert seen["dark"][1] > 3 * 200 > 3 * 40 > seen["dark"][0]


def test_grid(browser, grid_page):
    opened(browser, grid_page)
    assert not complaints(browser)
    tiles = cells(browser)
    assert len(tiles) == 11
    assert len(browser.find_elements(By.CSS_SELECTOR, ".tiles .none")) == 1
    point_at(browser, tiles[0])
    tooltip(browser, "train fraction 0.3, dtype float16")
    point_at(browser, tiles[10], click=True)
    assert panel(browser).startswith("train fraction 0.6, dtype float64")
    assert panel(browser).count("unfinished") == 3
    parts = browser.find_elements(By.CSS_SELECTOR, ".tile .bar > span")
    assert sum(int(part.get_attribute("textContent") or 1) for part in parts) == 33


HOSTILE = (
    "<!--<script>",
    "</script><script>window.ran = 1</script>",
    "<img src=x onerror=window.ran=1>",
    "\"'><svg onload=window.ran=1>",
    "{{ 7 * 7 }} </title></style><!-- [/red]",
    "=HYPERLINK('http://example.org')\u2028\x1b]0;",
)


def test_copies(browser, row_page):
    """A button puts a table, a command or BibTeX on the clipboard, or selects it where the browser forbids that."""
    opened(browser, row_page)
    table, command, entries = browser.find_elements(By.CSS_SELECTOR, "button.copy")
    for button, text in (
        (table, "0.80 [0.28, 0.99]"),
        (command, "python -m analysis.report"),
        (entries, "Grokking at the Edge of Numerical Stability"),
    ):
        button.send_keys(Keys.ENTER)
        WebDriverWait(browser, 10).until(
            lambda _, button=button, text=text: browser.execute_script(
                "return arguments[0].textContent === 'copied' || String(getSelection()).includes(arguments[1])",
                button,
                text,
            )
        )


def test_what_others_wrote_is_text(browser, tmp_path):
    """Markup in every text of a ledger is shown as it is, and nothing of it runs."""
    ledger = Ledger.open(str(tmp_path / "ledger?password=secret&<b>#"), create=True)
    points = itertools.product(HOSTILE[:2], HOSTILE[3:5], (0, HOSTILE[1]))
    trials = [
        make_trial(f"t{index}", {"arm": arm, f"optimizer.{HOSTILE[2]}": value, "seed": seed}, t_mem=40, t_gen=300)
        for index, (arm, value, seed) in enumerate(points)
    ]
    config = CONFIG | {"task": {"class": "ModularAddition", "p": HOSTILE[1], HOSTILE[0]: HOSTILE[2]}}
    fill_ledger(ledger, "hostile", trials, doc=" ".join(HOSTILE) + "?", config=config)
    for event, out, title in ((None, "declared", HOSTILE[1]), ("parameter_norm<=1e9", "asked", "≤ 1e+09")):
        write_report(ledger.uri, "hostile", tmp_path / out, event=event)
        opened(browser, tmp_path / out / "report.html")
        assert not complaints(browser)
        assert title in browser.find_element(By.TAG_NAME, "h1").text
        assert len(cells(browser)) == 4
        point_at(browser, cells(browser)[0])
        assert HOSTILE[0] in tooltip(browser, "<!--")
        point_at(browser, cells(browser)[1], click=True)
        assert browser.execute_script("return window.ran") is None
        assert not browser.find_elements(By.TAG_NAME, "img")


def test_the_policy_runs_nothing_else(browser, row_page, tmp_path):
    """Even markup that got into the page would not run, nor reach a network."""
    page = tmp_path / "planted.html"
    planted = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"
    page.write_text(row_page.read_text(encoding="utf-8").replace("<h1>", f"{planted}<h1>", 1), encoding="utf-8")
    opened(browser, page)
    assert browser.execute_script("return window.ran") is None
    said = complaints(browser)
    assert len(said) == 3
    assert all("Content Security Policy" in each for each in said)


def test_the_page_of_the_figures(browser, tmp_path):
    """It has no script, and its pictures are shown under its policy."""
    figures.write_page([result(*named("fig02"))], tmp_path / "figures.html")
    browser.get((tmp_path / "figures.html").as_uri())
    picture = browser.find_element(By.TAG_NAME, "img")
    WebDriverWait(browser, PATIENCE_S).until(lambda _: int(picture.get_property("naturalWidth")) > 500)
    assert not complaints(browser)


def test_legends(browser, row_page):
    """They name what the picture's legends name, in the same order."""
    opened(browser, row_page)
    diagram = build(make_sweep(wd_vs_orthograd()))
    times = time_legend(diagram, list(stems(diagram, time_axis(diagram))))
    expected = [label for label, _ in times + phase_legend(diagram, probability=True)]
    labels = [entry.text for entry in browser.find_elements(By.CSS_SELECTOR, "#diagram .legend .entry")]
    assert labels == expected
