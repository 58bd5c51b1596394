"""The page as its readers have it: in a real browser, without a network. Skipped where Chromium is not installed."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from paper_tasks import CIFAR10
from processes import PATIENCE

from resnet_cli.cli.main import _exit_code
from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.report.cells import signed
from resnet_cli.report.page import make_section, render_page
from resnet_cli.report.summarize import averaging_window, summarize
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store

pytest.importorskip("selenium.webdriver", reason="selenium, which drives the browser, is not installed")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import AddRun
    from selenium.webdriver import Chrome

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
LARGEST = 12e6  # bytes; the library is two fifths of it

# What each text on the page is written on, and the contrast between them (WCAG 2.1, 1.4.3).
CONTRASTS = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => {
  const [red, green, blue] = channels(colour).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const opaque = (colour) => channels(colour).length < 4 || channels(colour)[3] > 0;
const found = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  const unseen = !element.checkVisibility() || element.closest("script, .hoverlayer, .modebar");
  if (unseen || !texts.currentNode.textContent.trim()) continue;
  const style = getComputedStyle(element);
  let behind = element;
  while (behind && !opaque(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
  const drawn = element instanceof SVGElement ? style.fill : style.color;
  const [low, high] = [drawn, getComputedStyle(behind).backgroundColor].map(luminance).sort((a, b) => a - b);
  found.push([(high + 0.05) / (low + 0.05), texts.currentNode.textContent.trim()]);
}
return found;
"""
# What lies beyond the right edge, other than in a box of its own that scrolls.
BEYOND_THE_EDGE = """
const edge = document.documentElement.clientWidth;
return [...document.body.querySelectorAll("*")]
  .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > edge + 1)
  .filter((each) => {
    let box = each.parentElement;
    while (box && !["auto", "scroll", "hidden"].includes(getComputedStyle(box).overflowX)) box = box.parentElement;
    return !box || box === document.body;
  })
  .map((each) => each.outerHTML.slice(0, 100));
"""


# Where the second point of a net's test curve in the first plot lies in the window, once the plot is in the middle: a
# swift finger may have sent it far away.
SECOND_POINT = """
const plot = document.querySelector(".plot"), {xaxis, yaxis} = plot._fullLayout;
plot.scrollIntoView({block: "center", behavior: "instant"});
const trace = plot._fullData.find((each) => each.name === arguments[0] && each.meta === "test");
const {left, top} = plot.querySelector(".nsewdrag").getBoundingClientRect();
return [left + xaxis.l2p(trace.x[1]), top + yaxis.l2p(trace.y[1])];
"""

# Whether the label of a point in the first plot has this text.
SAYS = "return document.querySelector('.plot .hoverlayer')?.textContent.includes(arguments[0]) ?? false"


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """The browser as it is on a desk in the light; afterwards again."""
    as_on_a_desk(chromium)
    yield chromium
    as_on_a_desk(chromium)


def as_on_a_desk(browser: Chrome) -> None:
    """Takes back what tests emulate, and empties the logs."""
    browser.get("about:blank")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    emulate(browser, "light")
    browser.get_log("browser")
    browser.get_log("performance")


def emulate(browser: Chrome, scheme: str, medium: str = "") -> None:
    """A reader who prefers light or dark; a medium: `print`."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})


def narrow(browser: Chrome, width: int, *, touched: bool = False) -> None:
    """A window of this width in CSS pixels; with `touched` a phone's."""
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": touched}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": touched})


def touch(browser: Chrome, *points: tuple[float, float]) -> None:
    """A finger set down, moved, and taken away."""
    for number, (x, y) in enumerate(points):
        event = {"type": "touchMove" if number else "touchStart", "touchPoints": [{"x": x, "y": y}]}
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", event)
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    # Where the page ran on after the finger, it comes to rest.
    until(browser, "return window.rest === scrollY || (window.rest = scrollY, false)")


def tap_until(browser: Chrome, net: str, text: str) -> None:
    """Taps the second point of a net's test curve until the plot says this."""
    from selenium.webdriver.support.ui import WebDriverWait

    def answered(_: Chrome) -> bool:
        touch(browser, tuple(browser.execute_script(SECOND_POINT, net)))
        return bool(browser.execute_script(SAYS, text))

    # Two taps within 0.3 s are a double tap, which has another meaning.
    WebDriverWait(browser, PATIENCE, poll_frequency=1).until(answered)


@pytest.fixture
def visit(browser: Chrome, tmp_path: Path) -> Callable[[str], None]:
    """Opens a page from a file, and waits until each figure is drawn or given up."""

    def open_page(page: str) -> None:
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        browser.get(path.as_uri())
        settled(browser)

    return open_page


def settled(browser: Chrome) -> None:
    """Waits until all that a page draws is drawn."""
    script = "return [...document.querySelectorAll('figure.drawn .plot')].every((plot) => plot._fullLayout)"
    until(browser, script)


def until(browser: Chrome, script: str) -> None:
    """Waits until a script's answer is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, PATIENCE, poll_frequency=0.1).until(lambda driver: driver.execute_script(script))


@pytest.fixture
def runs(add_run: AddRun) -> list[RunSpec]:
    """Two finished runs of plain-20 and of plain-56, one of resnet-20 and of resnet-110."""
    of_two = [
        add_run(f"plain-{depth}", [60.0, 30.0 + depth / 10, error + seed / 10], train, seed=seed)
        for depth, error, train in ((20, 9.0, 2.0), (56, 13.0, 6.0))
        for seed in range(2)
    ]
    return [*of_two, add_run("resnet-20", [55.5, 20.25, 8.7], 1.5), add_run("resnet-110", [55.0, 19.5, 6.6], 0.5)]


@pytest.fixture
def page(store: Store, runs: list[RunSpec], short: Variant) -> str:
    """A page with curves, with final errors against depth, with the paper's numbers, and with the widest table."""
    assert runs
    named = [load_experiment(name) for name in ("fig6", "table6", "table1")] + [load_experiment("depth", (20, 56))]
    return render_page([make_section(store, summarize(store, experiment, short)) for experiment in named])


def requests(browser: Chrome) -> list[str]:
    """The addresses that were asked for since the last look."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def traces(browser: Chrome, panel: int = 0, within: str = "body") -> list[dict[str, Any]]:
    """What a panel shows, line by line."""
    script = """
    return document.querySelectorAll(arguments[1] + " .plot")[arguments[0]]._fullData.map((trace) => ({
      name: trace.name, group: trace.legendgroup, metric: trace.meta, x: [...trace.x], y: [...trace.y],
      visible: trace.visible, colour: trace.line?.color,
    }));
    """
    return browser.execute_script(script, panel, within)


def click_in_legend(browser: Chrome, name: str, *, touched: bool = False) -> None:
    """Clicks (or taps) a name in the first panel's legend and waits until the plot has answered."""
    before = [trace["visible"] for trace in traces(browser)]
    legend = browser.find_element("css selector", ".plot .legend")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", legend)
    entry = next(
        each
        for each in browser.find_elements("css selector", ".plot .legend .traces")
        if name in each.get_attribute("textContent")
    )
    place = entry.find_element("css selector", ".legendtoggle")
    if touched:
        box = browser.execute_script("return arguments[0].getBoundingClientRect()", place)
        touch(browser, (box["x"] + 20, box["y"] + 10))
    else:
        place.click()
    script = "return document.querySelector('.plot')._fullData.some((trace, i) => trace.visible !== %s[i])"
    until(browser, script % json.dumps(before))


def test_opens_from_a_file_without_a_word(browser: Chrome, visit: Callable[[str], None], page: str) -> None:
    """No network is asked, the console stays empty, and every panel is drawn in place of its static figure."""
    visit(page)
    elsewhere = [url for url in requests(browser) if not url.startswith(("file:", "data:", "blob:", "about:"))]

    assert [] == browser.get_log("browser")
    assert [] == elsewhere
    # Figure 6 has three, the table two of them, the sweep two.
    assert 7 == len(browser.find_elements("css selector", "figure.drawn .plot .legend"))
    assert [False] * 3 == [each.is_displayed() for each in browser.find_elements("css selector", ".static img")]
    assert "en" == browser.find_element("css selector", "html").get_attribute("lang")


def test_nothing_is_sent_anywhere(browser: Chrome, visit: Callable[[str], None], page: str) -> None:
    """The buttons of a plot save, zoom and move it; none shares it."""
    visit(page)
    bar = browser.find_element("css selector", ".plot .modebar")
    buttons = [each.get_attribute("data-title") for each in bar.find_elements("css selector", ".modebar-btn")]

    assert ["download", "zoom", "pan", "zoom", "zoom", "reset"] == [button.split()[0].lower() for button in buttons]


def test_curves_and_table_have_the_logs_numbers(
    browser: Chrome, visit: Callable[[str], None], page: str, store: Store, runs: list[RunSpec]
) -> None:
    """Each point of a curve, and each error in the table, is what the CSV files give, computed here anew."""
    visit(page)
    logs = [store.folder(run) for run in runs if run.net == CIFAR10.net("plain-56")]
    tested = [pd.read_csv(folder / run_folder.EVAL_CSV) for folder in logs]
    trained = [pd.read_csv(folder / run_folder.TRAIN_CSV) for folder in logs]
    window = averaging_window(runs[0].protocol, 50_000)
    shown = {trace["metric"]: trace for trace in traces(browser) if trace["name"] == "plain-56"}
    train = (sum(log["train_error"] for log in trained) / 2).rolling(window).mean()
    cells = [each.text for each in browser.find_elements("css selector", "#fig6 tbody tr:nth-child(4) > *")]
    last = pd.Series([log["test_error"].iloc[-1] for log in tested])

    assert tested[0]["iteration"].tolist() == shown["test"]["x"]
    assert pytest.approx((sum(log["test_error"] for log in tested) / 2).tolist(), abs=1e-4) == shown["test"]["y"]
    assert shown["train"]["x"][-1] == runs[0].protocol.iterations
    assert pytest.approx([train[x - 1] for x in shown["train"]["x"]], abs=1e-4) == shown["train"]["y"]
    ours, paper = f"{last.mean():.2f} ± {last.std():.2f}", "13.26"
    assert ["plain-56", "56", "853,018", paper, ours] == cells[:5]
    assert ["2", signed(last.mean() - float(paper))] == cells[-2:]


def test_a_name_in_the_legend_hides_and_shows_a_net(browser: Chrome, visit: Callable[[str], None], page: str) -> None:
    """A click hides a net's training and test curve and their bands, the other net's stay; another brings them back."""
    visit(page)
    groups = [trace["group"] for trace in traces(browser)]
    curves = "return document.querySelectorAll('.plot')[0].querySelectorAll('.scatterlayer .trace').length"
    before = browser.execute_script(curves)
    click_in_legend(browser, "plain-20")
    hidden = [trace["group"] for trace in traces(browser) if trace["visible"] == "legendonly"]
    less = browser.execute_script(curves)
    browser.execute_script("return new Promise((done) => setTimeout(done, 700))")  # or it were a double click
    click_in_legend(browser, "plain-20")

    assert (4, 4) == (groups.count("plain-20"), groups.count("plain-56"))
    assert ["plain-20"] * 4 == hidden
    assert (8, 4, 8) == (before, less, browser.execute_script(curves))


def test_hover_says_the_number_and_a_drag_zooms(browser: Chrome, visit: Callable[[str], None], page: str) -> None:
    """Beside a point stand its net, iteration, error and the runs' range; dragging zooms, a double click comes back."""
    from selenium.webdriver import ActionChains

    visit(page)
    area = browser.find_element("css selector", ".plot .nsewdrag")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    whole = browser.execute_script("return document.querySelector('.plot')._fullLayout.xaxis.range")
    at = browser.execute_script("""
        const plot = document.querySelector(".plot"), {xaxis, yaxis} = plot._fullLayout;
        const trace = plot._fullData.find((each) => each.name === "plain-56" && each.meta === "test");
        return [xaxis.l2p(trace.x[1]) - xaxis._length / 2, yaxis.l2p(trace.y[1]) - yaxis._length / 2];
    """)
    ActionChains(browser).move_to_element_with_offset(area, *map(round, at)).perform()
    until(browser, "return document.querySelector('.plot .hoverlayer .hovertext')")
    words = browser.find_element("css selector", ".plot .hoverlayer .hovertext").get_attribute("textContent")
    drag = ActionChains(browser).move_to_element_with_offset(area, -50, -50).click_and_hold()
    drag.move_by_offset(60, 40).move_by_offset(60, 40).release().perform()
    until(browser, f"return document.querySelector('.plot')._fullLayout.xaxis.range[0] > {whole[0] + 50}")
    ActionChains(browser).move_to_element(area).double_click().perform()

    assert all(part in words for part in ("plain-56", "test", "iteration 427", "35.60%", "mean of 2 runs"))
    until(browser, f"return document.querySelector('.plot')._fullLayout.xaxis.range[1] === {whole[1]}")


def test_dark_and_light_while_it_is_open(browser: Chrome, visit: Callable[[str], None], page: str) -> None:
    """Page and figures follow the reader's preference at once, black curves stay visible, hidden ones hidden."""
    background = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    curve = (
        "return document.querySelectorAll('.plot')[1]._fullData.find((each) => each.name === 'resnet-110').line.color"
    )
    visit(page)
    click_in_legend(browser, "plain-20")
    light = browser.execute_script(background), browser.execute_script(curve)
    emulate(browser, "dark")
    until(browser, f"return (() => {{ {curve} }})() !== {json.dumps(light[1])}")
    dark = browser.execute_script(background), browser.execute_script(curve)
    hidden = {trace["group"] for trace in traces(browser) if trace["visible"] == "legendonly"}

    assert min(light[0]) > 240
    assert max(dark[0]) < 40
    assert all(int(dark[1][at : at + 2], 16) > 200 for at in (1, 3, 5))
    assert {"plain-20"} == hidden
    assert [] == browser.get_log("browser")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(browser: Chrome, visit: Callable[[str], None], page: str, scheme: str) -> None:
    """Text is at least 4.5 times as light as what it is written on, or as dark (WCAG AA), in figures too."""
    emulate(browser, scheme)
    visit(page)
    contrasts = browser.execute_script(CONTRASTS)

    assert {"reproduced", "not run", "iterations", "plain-56"} <= {text for _, text in contrasts}
    assert [] == [(round(contrast, 1), text) for contrast, text in contrasts if contrast < 4.5]


def test_on_a_phone(browser: Chrome, visit: Callable[[str], None], page: str) -> None:
    """At 390 pixels only tables scroll sideways, each in its box; on a plot a finger scrolls the page, a tap asks."""
    narrow(browser, 390, touched=True)
    visit(page)
    widths = browser.execute_script("return [document.documentElement.scrollWidth, document.body.scrollWidth]")
    beyond = browser.execute_script(BEYOND_THE_EDGE)
    plot = browser.find_element("css selector", ".plot")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    before = browser.execute_script("return scrollY")
    touch(browser, *((200, 400 - 20 * step) for step in range(11)))
    until(browser, f"return scrollY > {before + 100}")

    assert ([390, 390], []) == (widths, beyond)
    tap_until(browser, "plain-20", "32.00%")
    click_in_legend(browser, "plain-20", touched=True)


def test_on_paper(browser: Chrome, visit: Callable[[str], None], page: str) -> None:
    """Print has the static figures, light, and nothing runs over the right edge of A4; a PDF comes of it."""
    emulate(browser, "dark", "print")
    narrow(browser, 680)  # A4 without its margins
    visit(page)
    figures = [each.is_displayed() for each in browser.find_elements("css selector", ".static img")]
    plots = [each.is_displayed() for each in browser.find_elements("css selector", ".plot")]
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])

    assert ([True] * 3, [False] * 7) == (figures, plots)
    assert "rgb(253, 253, 251)" == background
    assert [] == browser.execute_script(BEYOND_THE_EDGE)
    assert (b"%PDF", True) == (pdf[:4], len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3)
    assert [] == browser.get_log("browser")


@pytest.mark.parametrize("scripts", ["forbidden", "broken", "without data"])
def test_the_static_figures_stand_in(browser: Chrome, visit: Callable[[str], None], page: str, scripts: str) -> None:
    """Where scripts may not run, or fail, the static figures are there, and no empty place beside them."""
    if scripts == "forbidden":
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    elif scripts == "broken":
        page = page.replace("<script>/**", "<script>!/**")  # is not what its hash says, so it is not run
    else:
        page = page.replace('<script type="application/json">{', '<script type="application/json">?{')
    visit(page)
    figures = browser.find_elements("css selector", ".static img")

    assert [True] * 3 == [each.is_displayed() for each in figures]
    assert all(int(each.get_property("naturalWidth")) > 100 for each in figures)
    assert not any(each.is_displayed() for each in browser.find_elements("css selector", ".plot"))


def test_titles_are_data(
    browser: Chrome, visit: Callable[[str], None], store: Store, runs: list[RunSpec], short: Variant
) -> None:
    """Whatever an experiment's file calls its panels and claims, it is shown as it stands and nothing of it runs."""
    assert runs
    hostile = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'>{{ 7 * 7 }}"
    content = load_experiment("fig6").model_dump(mode="json") | {"title": hostile, "question": hostile}
    content["figure"] |= {"title": f'"{hostile}'}
    for part in (*content["figure"]["panels"], *content["claims"]):
        part["title" if "show" in part else "text"] = hostile
    visit(render_page([make_section(store, summarize(store, Experiment.model_validate(content), short))]))
    shown = [browser.find_element("css selector", selector).text for selector in ("h2 ~ h2, #fig6 h2", ".panel p")]

    assert [hostile, hostile] == shown
    assert browser.execute_script("return window.ran === undefined")
    assert [] == browser.get_log("browser")


@pytest.mark.long
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="not a checkout: nothing is published here")
def test_the_published_runs(browser: Chrome, tmp_path: Path) -> None:
    """`resnet report` makes of the runs that the project publishes a page that opens, in which their numbers stand."""
    path = tmp_path / "published.html"
    arguments = ["report", "--results-dir", str(PUBLISHED), "--depths", "8,20", "--output", str(path)]
    assert 0 == _exit_code(arguments)
    browser.get(path.as_uri())
    settled(browser)
    store, variant = Store(PUBLISHED), Variant(schedule=0.02, precision="bf16")
    run = RunSpec.of(CIFAR10.net("plain-20"), variant, load_experiment("degradation").protocol, seed=0)
    logs = [pd.read_csv(store.folder(each) / run_folder.EVAL_CSV) for each in store.replicates(run)]
    last = pd.Series([log["test_error"].iloc[-1] for log in logs])
    drawn = traces(browser, within="#degradation")
    shown = next(trace for trace in drawn if (trace["name"], trace["metric"]) == ("plain-20", "test"))
    text = browser.find_element("css selector", "#degradation table").text

    assert [] == browser.get_log("browser")
    assert path.stat().st_size < LARGEST
    assert pytest.approx(last.mean(), abs=1e-4) == shown["y"][-1]
    assert f"{last.mean():.2f} ± {last.std():.2f}" in text
