"""The site: it builds, its links lead somewhere, it searches without a network, and its commands and notebook run."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
from processes import PATIENCE

from resnet_cli.cli.main import _exit_code

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).parents[1]
DOCS = sorted(ROOT.glob("docs/*.md"))
# Before a block of commands, or of a file that they read; neither is shown.
MARKED = re.compile(r"^<!-- (?:(runnable)|file: (\S+)) -->\n```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What says how long a run is, or on what: a smoke run has both of its own.
SCALE = re.compile(r" --(?:minutes|schedule|dataset|precision) \S+")


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = _module(ROOT / "docs/build.py")


def tiny(command: str) -> str:
    """The command as a smoke run, if it trains."""
    words = command.split()
    return SCALE.sub("", command) + " --tiny --seeds 1 --device cpu" if words[1] == "run" else command


class Page(HTMLParser):
    """A page's addresses: what it links to, what it loads, and the places in it that links may name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.places = {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if "href" in given:
            (self.links if tag == "a" else self.loaded).add(given["href"])
        if "src" in given:
            self.loaded.add(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: a warning is an error."""
    folder: Path = BUILD.build(tmp_path_factory.mktemp("docs") / "built")
    return folder.parent


@pytest.mark.parametrize("name", BUILD.GENERATED)
def test_generated_pages_are_those_of_the_program(name: str) -> None:
    """What the paper leaves open, row by row, and every command; `make docs` generates both anew."""
    assert BUILD.GENERATED[name]() == (ROOT / name).read_text()


def test_every_link_leads_somewhere(site: Path) -> None:
    """Each link, picture, script and style of each page is a file of the site, at a place that is there."""
    pages = {path: Page(path) for path in site.rglob("*.html")}

    assert len(pages) > len(DOCS)
    for path, page in pages.items():
        for address in page.links | page.loaded:
            parts = urlsplit(address)
            if parts.scheme in {"https", "mailto"} and address in page.links:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert parts.scheme == parts.netloc == "", f"{path.name} loads {address}"
            assert target.is_file(), f"{path.name}: {address}"
            if target in pages:
                assert unquote(parts.fragment) in pages[target].places | {"__skip"}, f"{path.name}: {address}"


def test_navigation_leaves_no_page_out(site: Path) -> None:
    """Each page of docs/ is in the navigation, which the first page has."""
    navigation = {unquote(urlsplit(link).path) for link in Page(site / "index.html").links}

    assert {f"docs/{page.stem}.html" for page in DOCS} <= navigation


BACKSPACE = "\ue003"  # to selenium
# Addresses that the search shows, which lies in a tree of its own.
FOUND = """
const host = [...document.querySelectorAll("*")].find((each) => each.shadowRoot);
return host ? [...host.shadowRoot.querySelectorAll("a")].map((each) => each.getAttribute("href")) : [];
"""


@pytest.mark.long
def test_search_without_server_and_network(site: Path, chromium: Chrome) -> None:
    """What newcomers look for is found first, in a page opened from a file. Long, for it starts a browser."""
    for words, place in {
        "install": "index.html#install",
        "demo": "docs/start.html#the-demo-two-minutes",
        "table 6 gpu": "docs/cifar10.html#table-6-on-a-gpu",
        "own images": "docs/imagenet.html#your-own-images",
        "verdict": "docs/table.html#verdicts",
        "own experiment": "docs/own-experiment.html",
    }.items():
        chromium.get((site / "index.html").as_uri())
        deadline, first = time.monotonic() + PATIENCE, ""
        while f"?h={words.replace(' ', '+')}" not in first and time.monotonic() < deadline:
            time.sleep(0.5)  # until the page listens, and until the index is read
            if chromium.switch_to.active_element.tag_name == "body":
                chromium.switch_to.active_element.send_keys("/")
            chromium.switch_to.active_element.send_keys(BACKSPACE * 20 + words)
            time.sleep(0.5)
            first = next(iter(chromium.execute_script(FOUND)), "")

        assert (site / place.partition("#")[0]).as_uri() == first.partition("?")[0], words
        assert place.partition("#")[2] == first.partition("#")[2], words


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name) for page in DOCS if "<!-- runnable -->" in page.read_text()]
)
def test_commands_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page that are marked as runnable run one after the other, those that train as smoke runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESNET_RESULTS", raising=False)
    monkeypatch.setenv("RESNET_DATA", str(tmp_path / "data"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results/published").symlink_to(ROOT / "results/published")
    for runnable, file, block in MARKED.findall(page.read_text()):
        if file:
            Path(file).write_text(block)
        for line in block.splitlines() if runnable else ():
            command = tiny(line.partition(" #")[0].strip())

            assert command.startswith("resnet ")
            assert 0 == _exit_code(shlex.split(command)[1:]), command


@pytest.mark.long
def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell of the notebook but its installation runs, as smoke runs. Long, for each command loads torch."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RESNET_RESULTS", raising=False)
    notebook = nbformat.read(BUILD.NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "%pip install" in cells[0].source
    cells[0].source = ""
    for cell in cells:
        lines = [tiny(line) if line.startswith("!resnet") else line for line in cell.source.splitlines()]
        cell.source = "\n".join(lines)
    nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": tmp_path}}).execute()

    doctor, *printed = ["".join(output.get("text", "") for output in cell.outputs) for cell in cells[1:]]
    assert "torch" in doctor
    assert any("plain-56" in text and "ours" in text for text in printed)
    assert not any(re.search("^error:", text, re.MULTILINE) for text in printed)
    assert 2 == sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert {"degradation.png", "my.png", "my.toml", "results"} <= {path.name for path in tmp_path.iterdir()}
