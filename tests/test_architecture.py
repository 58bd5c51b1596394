"""Imports run one way (shared design: who may import whom), and commands that train nothing load nothing heavy."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import resnet_cli
from resnet_cli.cli.main import COMMANDS

PACKAGE = Path(resnet_cli.__file__).parent
MODULES = {
    ".".join(("resnet_cli", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
HEAVY = {"torch", "torchvision", "pandas", "matplotlib", "scipy", "plotly", "submitit"}

MAY_IMPORT_TORCH = (
    "resnet_cli.nets.resnet",
    "resnet_cli.nets.wrbn",
    "resnet_cli.nets.loss",
    "resnet_cli.nets.boxes",
    "resnet_cli.nets.localiser",
    "resnet_cli.nets.regions",
    "resnet_cli.nets.faster_rcnn",
    "resnet_cli.nets.torchvision_rcnn",
    "resnet_cli.nets.answers",
    "resnet_cli.device.torch_device",
    "resnet_cli.device.turns",
    "resnet_cli.data",
    "resnet_cli.evaluate.evaluate",
    "resnet_cli.tasks.cifar10.files",
    "resnet_cli.tasks.detection.files",
    "resnet_cli.tasks.detection.scenes",
    "resnet_cli.tasks.speech.dataset",
    "resnet_cli.tasks.speech.frames",
    "resnet_cli.tasks.speech.pictures",
    "resnet_cli.tasks.detection.stream",
    "resnet_cli.tasks.detection.found",
    "resnet_cli.tasks.identities",
    "resnet_cli.tasks.localisation.data",
    "resnet_cli.tasks.localisation.judge",
    "resnet_cli.weights",
    "resnet_cli.train",
    "resnet_cli.analyses.layers",
    "resnet_cli.analyses.analyse",
    "resnet_cli.runs.timing",
    "resnet_cli.runs.users_loop",
    "resnet_cli.runs.one_run",
    "resnet_cli.runs.workers",
    "resnet_cli.runs.measure",
    "resnet_cli.runs.execute",
)
DATASETS = re.compile("cifar|imagenet|shapes-16", re.IGNORECASE)
MAY_NAME_A_DATASET = {  # beside the tasks; at most five modules
    "resnet_cli.names",  # what options take, and what the help says of it
    "resnet_cli.data.synthetic",  # draws the embedded ones
    "resnet_cli.weights.convention",  # whose weights assume what, by task
    "resnet_cli.weights.read",  # torchvision's IMAGENET1K_V1
    "resnet_cli.cli.bench",  # measures nets of section 4.2
}


def is_in(module: str, package: str) -> bool:
    """Whether a module is this one or lies in this package."""
    return module == package or module.startswith(f"{package}.")


def names_of(node: ast.AST) -> list[str]:
    """The modules that a statement imports; of `from package import name` the module `name`, if it is one."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        assert node.module is not None
        return [full if (full := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names]
    return []


def all_imports(module: str) -> set[str]:
    """Everything that a module imports, wherever in it, for types too."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return {name for node in ast.walk(tree) for name in names_of(node)}


def imports_on_loading(module: str) -> set[str]:
    """What a module imports when it is loaded: not in functions, and not for types only."""
    found: set[str] = set()

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            found.update(names_of(node))
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                visit(node.orelse)
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for part in ("body", "orelse", "finalbody"):
                    visit(getattr(node, part, []))
                for handler in getattr(node, "handlers", []):
                    visit(handler.body)

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")).body)
    return found


def test_imports_run_one_way() -> None:
    """The rooms import each other in one direction, and nothing goes round in a circle: import-linter's contracts."""
    assert 0 == lint_imports(config_filename=str(PACKAGE.parent / "pyproject.toml"), no_cache=True)


def test_tasks_alone_know_a_dataset_by_name() -> None:
    """Outside `tasks`, these modules name a dataset, in code or in words, and no other does."""
    others = [name for name in MODULES if not is_in(name, "resnet_cli.tasks")]

    assert MAY_NAME_A_DATASET == {name for name in others if DATASETS.search(MODULES[name].read_text("utf-8"))}
    assert 5 >= len(MAY_NAME_A_DATASET)


@pytest.mark.parametrize("module", [name for name in MODULES if is_in(name, "resnet_cli.train")])
def test_training_loop_comes_last(module: str) -> None:
    """Within `train`, nothing imports the loop: its parts stand below it."""
    assert "resnet_cli.train.loop" not in all_imports(module)


@pytest.mark.parametrize("module", MODULES)
def test_torch_is_loaded_where_it_is_needed(module: str) -> None:
    """Only the net, the data, the training and what starts it load torch; `report` does not even name it."""
    loaded = {name.partition(".")[0] for name in imports_on_loading(module)}
    named = {name.partition(".")[0] for name in all_imports(module)}
    torch = {"torch", "torchvision", "safetensors"}

    if not any(is_in(module, package) for package in MAY_IMPORT_TORCH):
        assert set() == torch & loaded
    if is_in(module, "resnet_cli.report"):
        assert set() == torch & named


def test_help_needs_no_specs() -> None:
    """The help loads every command but no pydantic: texts and options need none."""
    assert set() == {"pydantic"} & modules_after(["--help"])


def test_only_the_command_that_is_called_is_loaded() -> None:
    """A command's name loads its module, and that of no other command."""
    commands = {f"resnet_cli.cli.{name}" for name in COMMANDS}

    assert {"resnet_cli.cli.list"} == commands & modules_after(["list", "--help"])
    assert commands == commands & modules_after(["--help"])


def modules_after(arguments: list[str]) -> set[str]:
    """The modules that a process has loaded once it has run this command line."""
    program = (
        "import sys\n"
        "from resnet_cli.cli.main import _exit_code\n"
        f"_exit_code({arguments!r})\n"
        "print('loaded:', *sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["show", "table6"],
        ["show", "table3"],
        ["status"],
        ["status", "table6"],
        ["run", "table6", "--tiny", "--dry-run"],
        ["run", "nonsense"],
    ],
    ids=" ".join,
)
def test_light_commands_load_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    """Commands that neither train nor draw are instant, for they load neither torch nor pandas nor matplotlib."""
    program = (
        "import sys\n"
        "from resnet_cli.cli.main import _exit_code\n"
        f"code = _exit_code({arguments!r})\n"
        f"print('loaded:', *sorted({HEAVY!r} & set(sys.modules)))\n"
        "sys.exit(code)\n"
    )
    environment = {**os.environ, "RESNET_RESULTS": str(tmp_path / "results"), "RESNET_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert (2 if "nonsense" in arguments else 0) == done.returncode, done.stderr
    assert "loaded:" == done.stdout.splitlines()[-1]
    assert [] == list(tmp_path.iterdir())
