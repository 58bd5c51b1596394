"""Builds the documentation as a site: `make docs`.

The pages are this repository's Markdown files at their own places, so that a link between two of them leads to the
same file here, on a code host and in the site. Two of them are generated from the program and tracked.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from resnet_cli.tasks.choices import CHOICES

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "results/README.md"]
NOTEBOOK = ROOT / "docs/first-steps.ipynb"
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
# What the theme loads so that a page opened from a file can search; it is on another's server.
SHIM = "https://unpkg.com/iframe-worker/shim"


CHOICES_PAGE = """\
# What the paper leaves open

The paper does not say everything that a program must know. Each row is a choice that the paper leaves open, what this
program does, and the expected effect. This page is generated from `resnet_cli/tasks/choices.py`, and `resnet report`
shows the same rows.

| left open | here | expected effect |
|---|---|---|
{rows}

The number of CPU threads changes the last bits of a result. So exactness is promised for the same machine and the same
number of threads. Both are recorded with each run; see [what we promise](trust.md).
"""


def choices_page() -> str:
    """What the paper leaves open, from `resnet_cli/tasks/choices.py`."""
    rows = [f"| {each.left_open} | {each.here} | {each.effect} |" for each in CHOICES]
    return CHOICES_PAGE.format(rows="\n".join(rows))


def commands_page() -> str:
    """The reference of commands and options, as Typer writes it."""
    command = [sys.executable, "-m", "typer", "resnet_cli.cli.app", "utils", "docs", "--name", "resnet"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip() + "\n"


GENERATED = {"docs/commands.md": commands_page, "docs/what-the-paper-leaves-open.md": choices_page}


def notebook_page(notebook: Path) -> str:
    """A notebook's cells as a page: text as it is, code as blocks."""
    cells = json.loads(notebook.read_text())["cells"]
    title, *others = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    blocks = [text if kind == "markdown" else f"```python\n{text}\n```" for text, kind in others]
    file = f"This page is a notebook: [download it]({notebook.name}) and open it where a GPU is."
    return "\n\n".join([title[0].replace("\n\n", f"\n\n{file}\n\n", 1), *blocks]) + "\n"


def gather(source: Path) -> None:
    """Copies the pages, and the files that they link to, to a folder."""
    pages = [ROOT / page for page in PAGES] + sorted(ROOT.glob("docs/*.md"))
    for page in pages:
        text = page.read_text()
        for file in [page, *((page.parent / link).resolve() for link in LINK.findall(text))]:
            if file.is_file():
                copy = source / file.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        (source / page.relative_to(ROOT)).write_text(text.replace(f"{NOTEBOOK.name})", f"{NOTEBOOK.stem}.md)"))
    (source / "docs" / f"{NOTEBOOK.stem}.md").write_text(notebook_page(NOTEBOOK))
    shutil.copyfile(ROOT / "docs/site.css", source / "docs/site.css")


def search_from_files(site: Path) -> None:
    """Lets a page that was opened from a file search, without a server and a network.

    Browsers start no worker from a file's address. From the worker's text they do.
    """
    (worker,) = site.glob("assets/javascripts/workers/search.*.js")
    script = site / "assets/javascripts/worker-from-text.js"
    start = 'super(URL.createObjectURL(new Blob([text], { type: "text/javascript" })))'
    script.write_text(
        f'if (location.protocol === "file:") {{\n  const text = {json.dumps(worker.read_text())};\n'
        f"  window.Worker = class extends Worker {{ constructor() {{ {start}; }} }};\n}}\n"
    )
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = page.read_text()
        assert SHIM in text, f"{page}: the theme loads another shim now"
        page.write_text(text.replace(SHIM, up + str(script.relative_to(site))))


def build(folder: Path) -> Path:
    """Builds the site within a folder, which is made anew; returns its first page. Warnings are errors."""
    shutil.rmtree(folder, ignore_errors=True)
    gather(folder / "source")
    shutil.copyfile(ROOT / "docs/zensical.toml", folder / "zensical.toml")
    zensical = Path(sys.executable).with_name("zensical")
    subprocess.run([zensical, "build", "--strict", "--config-file", folder / "zensical.toml"], check=True)
    (folder / "site/404.html").unlink()  # its links hold at the root of a server only
    search_from_files(folder / "site")
    return folder / "site/index.html"


if __name__ == "__main__":
    for name, page in GENERATED.items():
        (ROOT / name).write_text(page())
    print(build(ROOT / "build/docs"))
