from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.report.page import make_section, render_page
from resnet_cli.report.summarize import summarize
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from conftest import AddRun

    from resnet_cli.identity import Variant
    from resnet_cli.storage.store import Store

VOID = {"meta", "img", "br", "link"}


class Structure(HTMLParser):
    """Checks that every element is closed where it was opened; collects links and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens an element."""
        self.links += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Closes the innermost element, which must be of this kind."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Keeps the text."""
        self.text.append(data)


@pytest.fixture
def page(store: Store, add_run: AddRun, short: Variant) -> str:
    """A page on two experiments: five finished runs of one environment, no net of figure 1 finished but one."""
    for seed in range(2):
        add_run("plain-20", [50.0, 9.0 + 0.1 * seed], 2.0, seed=seed)
        add_run("plain-56", [50.0, 13.0 + 0.1 * seed], 6.0, seed=seed)
    add_run("resnet-20", [50.0, 8.7])
    summaries = [summarize(store, load_experiment(name), short) for name in ("fig1", "table6")]
    return render_page([make_section(store, summary) for summary in summaries])


def read(page: str) -> Structure:
    """The page's structure, which must be whole."""
    structure = Structure()
    structure.feed(page)
    assert structure.open == []
    return structure


def test_sections(page: str) -> None:
    """Each experiment has its question, scale, table, verdicts, deviations, and each environment once."""
    text = re.sub(r"\s+", " ", " ".join(read(page).text))

    assert "Does a plain net get worse as it gets deeper, even on the training set?" in text
    assert "schedule 0.01 of the paper's; CIFAR-10; fp32" in text
    assert "9.05 ± 0.07" in text
    assert "reproduced : Degradation: plain-20 has lower test error than plain-56" in text
    assert "not run : Deeper residual nets have lower test error" in text
    assert "4 runs: torch 2.10.0, device cpu, commit 0123abc" in text
    assert "1 run: torch 2.10.0" in text
    assert "0.01 of the schedule; the steps of the learning rate move in proportion. Higher errors" in text
    assert "Where the paper leaves a choice" in text
    assert "the mean at other test sizes" not in text  # is about ImageNet
    assert "from runs of 2026-01-01 to 2026-01-02." in text


def test_verdicts_come_first(page: str) -> None:
    """The page begins with each claim and its verdict, by experiment, and with how many there are of each."""
    structure = read(page.partition('<section id="fig1">')[0] + "</main></body></html>")
    text = re.sub(r"\s+", " ", " ".join(structure.text))

    assert "2 reproduced , 0 not reproduced , 0 too few runs , 5 not run ." in text
    assert "Degradation: plain-20 has lower test error than plain-56 reproduced" in text
    assert ["#fig1", "#table6"] == [link for link in structure.links if link.startswith("#")]


def test_the_page_needs_nothing_else(page: str) -> None:
    """Figures are inside the page, nothing is fetched, and only the two scripts may run that its policy names."""
    inside = [link for link in read(page).links if link.startswith("data:image/svg+xml;base64,")]
    elsewhere = [link for link in read(page).links if not link.startswith(("data:", "#"))]

    assert (2, []) == (len(inside), elsewhere)
    assert base64.b64decode(inside[0].partition(",")[2]).startswith(b"<?xml")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(scripts) == 2
    assert f"default-src 'none'; script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}' ;" in page


def test_commands(store: Store, add_run: AddRun, short: Variant) -> None:
    """A section says what makes its runs again: as they are, and all that the experiment asks for, at their variant."""
    for net in ("plain-20", "plain-56", "resnet-20", "resnet-56"):
        for seed in range(2):
            add_run(net, [9.0], seed=seed)
    flags = "--schedule 0.01"
    sections = {
        name: make_section(store, summarize(store, load_experiment(name, depths), short))
        for name, depths in (("degradation", None), ("fig1", None), ("table6", None), ("depth", (20, 56)))
    }
    commands = {name: [command for _, command in section.commands] for name, section in sections.items()}

    assert [
        f"resnet run degradation --depths 20,56 {flags} --seeds 2",
        f"resnet run degradation --depths 20,56 {flags}",
        f"resnet plot degradation --depths 20,56 {flags} --format pdf",
        f"resnet table degradation --depths 20,56 {flags} --format latex",
        f"resnet check degradation --depths 20,56 {flags}",
    ] == commands["degradation"]
    assert [
        f"resnet run table6 {flags} --only resnet-20 --seeds 2",
        f"resnet run table6 {flags} --only resnet-56 --seeds 2",
        f"resnet run table6 {flags}",
    ] == commands["table6"][:3]
    add_run("resnet-56", [9.0], seed=2)
    one_more = make_section(store, summarize(store, load_experiment("depth", (20, 56)), short))
    assert ("repeat the runs of resnet-56", f"resnet run depth --depths 20,56 {flags} --only resnet-56 --seeds 3") in (
        one_more.commands
    )


def test_every_command_can_be_given(store: Store, add_run: AddRun, short: Variant) -> None:
    """The program takes each command of the page, and finds that the runs which it is to make again are done."""
    from resnet_cli.cli.main import _exit_code

    for net in ("plain-20", "resnet-20"):
        add_run(net, [9.0])
    for name, depths in (("fig1", None), ("shortcuts", None), ("depth", (20, 56)), ("table1", None)):
        section = make_section(store, summarize(store, load_experiment(name, depths), short))
        for _, command in section.commands:
            _, *arguments = command.split()
            dry = ["--dry-run"] if arguments[0] == "run" else []
            assert 0 == _exit_code([*arguments, *dry, "--results-dir", str(store.root)]), command


def test_without_figures_no_library(store: Store, short: Variant) -> None:
    """A page that has nothing to plot holds no script and allows none."""
    page = render_page([make_section(store, summarize(store, load_experiment("table1"), short))])

    assert "<script" not in page
    assert "script-src 'none';" in page
    assert len(page) < 100_000


def test_an_experiment_that_trains_nothing(store: Store, short: Variant) -> None:
    """Table 1 has a section of its own: layers and counts, two tables, and no environment."""
    page = render_page([make_section(store, summarize(store, load_experiment("table1"), short))])
    text = read(page).text

    assert (2, 0) == (page.count('"><table>'), text.count("Environments"))
    assert "counted from the layers; nothing is trained" in text
    assert "11,282,415,616" in text


@pytest.mark.parametrize("resumed", [3, "often", [3, None], {"torch": 1}, None])
def test_an_environment_of_another_kind(store: Store, add_run: AddRun, short: Variant, resumed: object) -> None:
    """What was recorded otherwise than a run records it is left out; the rest is shown."""
    folder = store.folder(add_run("plain-20", [9.0]))
    (folder / run_folder.ENVIRONMENT).write_text(json.dumps({"torch": "2.10.0", "resumed": resumed}))
    section = make_section(store, summarize(store, load_experiment("fig1"), short))

    assert [("torch 2.10.0", 1)] == section.environments


def test_text_is_escaped(store: Store, add_run: AddRun, short: Variant) -> None:
    """A title of one's own cannot break the page."""
    add_run("plain-20", [9.0])
    content: dict[str, Any] = load_experiment("fig1").model_dump(mode="json") | {"title": "<b>&", "figure": None}
    section = make_section(store, summarize(store, Experiment.model_validate(content), short))

    assert "<h2>&lt;b&gt;&amp;</h2>" in render_page([section])
    assert "<img" not in render_page([section])
