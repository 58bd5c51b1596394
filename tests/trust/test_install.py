"""The program as users have it: a wheel or an editable install, in a clean environment, without a network."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).parents[2]
NO_NETWORK = """
import socket

real = socket.socket.connect

def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise OSError(f"no network here: {address}")
    return real(self, address)

socket.socket.connect = connect
socket.socket.connect_ex = connect
"""

pytestmark = [
    pytest.mark.skipif(
        not (importlib.util.find_spec("hatchling") and importlib.util.find_spec("editables")),
        reason="hatchling and editables, which build the program, are not installed",
    ),
    pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout: nothing to install from"),
]


class Environment:
    """A virtual environment with the running one's dependencies, without this program, without a network."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "environment" / "bin"
        self.work = folder / "work"
        self.work.mkdir()
        venv.create(folder / "environment", with_pip=False)
        packages = next((folder / "environment").glob("lib/python*/site-packages"))
        # Of a path in a .pth file its own .pth files are not read: the running environment's editable install is not.
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (packages / "sitecustomize.py").write_text(NO_NETWORK)

    def __call__(self, program: str, *arguments: str, code: int = 0) -> str:
        """Runs one of its programs in the empty working folder; its standard output."""
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
        done = subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.work,
            env={**{name: os.environ[name] for name in kept if name in os.environ}, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

        assert code == done.returncode, done.stderr
        return done.stdout

    def install(self, *what: str) -> None:
        """Installs the program with nothing from outside."""
        self(
            "python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
            "--disable-pip-version-check", *what,
        )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--wheel-dir", folder, ROOT],
        check=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.fixture(params=["wheel"])
def installed(tmp_path: Path, wheel: Path, request: pytest.FixtureRequest) -> Environment:
    """An environment in which the program is installed."""
    environment = Environment(tmp_path)
    environment("python", "-c", "import resnet_cli.cli.main", code=1)  # it is not there before
    how: Literal["wheel", "editable"] = request.param
    environment.install(*(["--editable", str(ROOT)] if how == "editable" else [str(wheel)]))
    where = environment("python", "-c", "import resnet_cli; print(resnet_cli.__file__)").strip()

    assert Path(where).is_relative_to(ROOT if how == "editable" else tmp_path)
    return environment


def test_the_environment_has_no_network(tmp_path: Path) -> None:
    """A connection fails before it is tried: the other tests would notice a download."""
    environment = Environment(tmp_path)
    program = (
        "import socket\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9))\n"
        "except OSError as error:\n    print(error)"
    )

    assert "no network here: ('127.0.0.1', 9)\n" == environment("python", "-c", program)


def test_what_is_in_the_wheel(wheel: Path) -> None:
    """The package, the experiments with the paper's curves, the page's template and script; nothing else of the tree.

    Seen to fail when the experiments, or with them the tests, are told to travel otherwise than pyproject.toml does.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    experiments = (*ROOT.glob("experiments/*.toml"), *ROOT.glob("experiments/curves/*.csv"))
    tracked = {f"resnet_cli/{path.relative_to(ROOT)}" for path in experiments}
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("resnet_cli/**/*.py")}

    assert tracked | modules | {"resnet_cli/report/page.html", "resnet_cli/report/page.js"} == set(names)
    assert len(tracked) > 10


@pytest.mark.long
def test_a_wheel(installed: Environment) -> None:
    """Installed from a wheel, without a network, it makes a smoke run in an empty folder and prints the table.

    Long: a wheel is built and installed. In the full count every command is tried, of an editable install too.
    """
    assert installed("resnet", "--version").startswith("resnet 0.")
    out = installed("resnet", "run", "table6", "--tiny", "--only", "*-20", "--seeds", "1", "--device", "cpu")

    assert "SMOKE RUN" in out
    assert ["results"] == [path.name for path in installed.work.iterdir()]


TABLES = [f"table{number}" for number in range(1, 7)]


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["wheel", "editable"], indirect=True)
def test_every_command(installed: Environment) -> None:
    """Installed either way, it makes all of Table 6's smoke runs, the figure, the tables, the verdicts and the page."""
    said: dict[str, str] = {}

    def ask(*arguments: str) -> None:
        said[" ".join(arguments)] = installed("resnet", *arguments)

    ask("--version")
    ask("list")
    ask("run", "table6", "--tiny", "--device", "cpu")
    ask("plot", "cifar", "--tiny")
    for table in TABLES:
        ask("table", table)
    ask("check")
    ask("report")
    ask("data", "where")

    assert all(said.values())
    assert all(table in said["list"] for table in TABLES)
    assert "SMOKE RUN" in said["run table6 --tiny --device cpu"]
    assert "cifar-10-batches-py/test_batch: missing" in said["data where"]
    rows = [line for line in said["table table6"].splitlines() if line.startswith("ResNet")]
    assert ["20", "32", "44", "56", "110", "1202"] == [row.split()[1] for row in rows]
    assert "\N{EN DASH}" not in "".join(rows)  # what stands where nothing was measured
    assert "<html" in (installed.work / "results" / "report.html").read_text().lower()
    assert list((installed.work / "results" / "figures").iterdir())
