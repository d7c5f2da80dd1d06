"""The interactive page in a real browser: it draws itself without a network, answers to hover and click."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from analysis.diagram.cells import build
from analysis.diagram.marks import phase_legend, stems, time_axis, time_legend
from analysis.draw import draw
from analysis.page.page import write_page
from analysis.paper import page as figures
from analysis.paper.figure import named
from analysis.paper.results import result
from pipeline.ledger import Ledger
from tests.support.synthetic import CONFIG, fill_ledger, grid_sweep, make_sweep, make_trial, wd_vs_orthograd

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
    """The areas that answer to the pointer, one a cell, in the order of the cells."""
    return browser.find_elements(By.CSS_SELECTOR, "#chart g[class*='cells_'] path")


def complaints(browser: Chrome) -> list[str]:
    """What the browser's console says; an axis without data, while the chart changes, is no complaint."""
    return [entry["message"] for entry in browser.get_log("browser") if "Infinite extent" not in entry["message"]]


def lines(browser: Chrome) -> list[str]:
    """The paths of the curves that are drawn."""
    drawn = browser.find_elements(By.CSS_SELECTOR, "#chart g.mark-line path")
    return [path for line in drawn if (path := line.get_attribute("d"))]


def panel(browser: Chrome) -> str:
    """The text of the panel beside the chart; exactly one is shown."""
    (shown,) = [p for p in browser.find_elements(By.CSS_SELECTOR, "aside section") if p.is_displayed()]
    return shown.text


def tooltip(browser: Chrome, text: str) -> str:
    """The tooltip, once it says ``text``."""

    def says(driver: Chrome) -> str | None:
        shown = driver.find_elements(By.CSS_SELECTOR, "#vg-tooltip-element.visible")
        return shown[0].text if shown and text in shown[0].text else None

    return WebDriverWait(browser, PATIENCE_S).until(says)


def point_at(browser: Chrome, cell: WebElement, *, click: bool = False, down: int = 0) -> None:
    """Move the pointer into a cell, ``down`` pixels below its middle."""
    chain = ActionChains(browser).move_to_element_with_offset(cell, 0, down)
    (chain.click() if click else chain).perform()


@pytest.fixture(scope="module")
def row_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "row.html"
    write_page(build(make_sweep(wd_vs_orthograd())), path)
    return path


def test_the_page_is_self_contained(row_page):
    text = row_page.read_text(encoding="utf-8")
    assert "<link" not in text
    assert "src=" not in text.partition("<script>")[0]
    assert 'src="http' not in text
    assert len(text) < 3_000_000


def test_drawing(browser, row_page):
    opened(browser, row_page)
    assert "and does ⊥Grad need any?" in browser.find_element(By.TAG_NAME, "h1").text
    assert len(cells(browser)) == 8
    assert not complaints(browser)
    # The soonest cell is shown before anybody clicks: a training and a test curve for each of its seeds.
    assert panel(browser).startswith("⊥AdamW")
    assert len(lines(browser)) == 10


def test_hover(browser, row_page):
    opened(browser, row_page)
    point_at(browser, cells(browser)[5], down=100)
    said = tooltip(browser, "AdamW, weight decay 8")
    for part in ("4 grokking, 1 memorization (not by τ)", "0.80 [0.28, 0.99]", "636", "RMST(1500) of t_gen"):
        assert part in said
    point_at(browser, cells(browser)[0], down=60)
    assert "not by τ" in tooltip(browser, "AdamW, weight decay 0")


def test_click(browser, row_page):
    opened(browser, row_page)
    before = lines(browser)
    point_at(browser, cells(browser)[0], click=True, down=100)
    WebDriverWait(browser, PATIENCE_S).until(lambda b: panel(b).startswith("AdamW, weight decay 0"))
    WebDriverWait(browser, PATIENCE_S).until(lambda b: lines(b) and not set(lines(b)) & set(before))
    said = panel(browser)
    assert "frozen (919, 964]" in said
    assert said.count("memorization (not by τ)") == 5
    # A click beside the cells changes nothing; one on a mark inside a cell, the last cell's mean, chooses that cell.
    ActionChains(browser).move_to_element(
        browser.find_element(By.CSS_SELECTOR, "#chart g.role-legend")
    ).click().perform()
    assert panel(browser) == said
    mark = browser.find_elements(By.CSS_SELECTOR, "#chart g[class*='means_'] path")[-1]
    ActionChains(browser).move_to_element(mark).click().perform()
    WebDriverWait(browser, PATIENCE_S).until(lambda b: panel(b).startswith("⊥AdamW"))
    WebDriverWait(browser, PATIENCE_S).until(lambda b: lines(b) == before)


def test_another_quantity_and_a_logarithm(browser, row_page):
    opened(browser, row_page)
    accuracy = lines(browser)
    select = Select(browser.find_element(By.CSS_SELECTOR, "select[name=quantity]"))
    assert [option.text for option in select.options] == ["accuracy", "loss", "sc_true_fraction", "parameter_norm"]
    select.select_by_visible_text("loss")
    WebDriverWait(browser, PATIENCE_S).until(lambda b: len(lines(b)) == 10 and not set(lines(b)) & set(accuracy))
    loss = lines(browser)
    browser.find_element(By.CSS_SELECTOR, "input[type=checkbox]").click()
    WebDriverWait(browser, PATIENCE_S).until(lambda b: len(lines(b)) == 10 and set(lines(b)) != set(loss))
    select.select_by_visible_text("parameter_norm")
    WebDriverWait(browser, PATIENCE_S).until(lambda b: len(lines(b)) == 5)


def test_grid(browser, tmp_path):
    page = tmp_path / "grid.html"
    write_page(build(make_sweep(grid_sweep(), doc='A "sweep" </script><b>of</b> two axes')), page)
    opened(browser, page)
    assert not complaints(browser)
    tiles = cells(browser)
    assert len(tiles) == 11
    point_at(browser, tiles[0])
    assert "train fraction 0.3, dtype float16" in tooltip(browser, "dtype float16")
    point_at(browser, tiles[10], click=True)
    WebDriverWait(browser, PATIENCE_S).until(lambda b: panel(b).startswith("train fraction 0.6, dtype float64"))
    assert panel(browser).count("unfinished") == 3
    assert len(browser.find_elements(By.CSS_SELECTOR, "#chart g[class*='dots_'] path")) == 33


HOSTILE = (
    "<!--<script>",
    "</script><script>window.ran = 1</script>",
    "<img src=x onerror=window.ran=1>",
    "\"'><svg onload=window.ran=1>",
    "{{ 7 * 7 }} </title></style><!-- [/red]",
    "=HYPERLINK('http://example.org')\u2028\x1b]0;",
)


def test_the_commands_to_repeat_it(browser, row_page):
    """The button puts a command on the clipboard, or selects it where the browser forbids that."""
    opened(browser, row_page)
    (button,) = browser.find_elements(By.CSS_SELECTOR, "button.copy")
    browser.execute_script("arguments[0].click()", button)
    taken = "return document.querySelector('button.copy').textContent === 'copied' ? 'copied' : String(getSelection())"
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script(taken))
    assert browser.execute_script(taken) in (
        "copied",
        button.parent.find_element(By.CSS_SELECTOR, ".command code").text,
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
        draw(ledger.uri, "hostile", tmp_path / out, event=event)
        opened(browser, tmp_path / out / "report.html")
        assert not complaints(browser)
        assert title in browser.find_element(By.TAG_NAME, "h1").text
        assert len(cells(browser)) == 4
        point_at(browser, cells(browser)[0])
        assert HOSTILE[0] in tooltip(browser, "<!--")
        point_at(browser, cells(browser)[1], click=True)
        assert browser.execute_script("return window.ran") is None
        images = [image.get_attribute("src") for image in browser.find_elements(By.TAG_NAME, "img")]
        assert images
        assert all(source.startswith("data:image/png;base64,") for source in images), "the page's own pictures only"


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
    labels = [text.text for text in browser.find_elements(By.CSS_SELECTOR, "#chart g.role-legend-label text")]
    assert labels == [*expected, "test", "training", "other"]
