"""Imports run one way (shared design: who may import whom), and commands that train nothing load nothing heavy."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import resnet_cli
from resnet_cli.cli.main import COMMANDS

PACKAGE = Path(resnet_cli.__file__).parent
MODULES = {
    ".".join(("resnet_cli", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
VERSION = "resnet_cli"  # the package itself holds the version only
HEAVY = {"torch", "torchvision", "pandas", "matplotlib", "scipy", "plotly", "submitit"}

# What each module, or each package, may import of ours; the first that fits a module's name holds for it.
MAY_IMPORT = {
    "resnet_cli.errors": set(),
    "resnet_cli.names": set(),
    "resnet_cli.spec": {"names"},
    "resnet_cli.experiment": {"spec", "errors"},
    "resnet_cli.complexity": {"spec"},
    "resnet_cli.run_folder": {"spec", "errors"},
    "resnet_cli.scores": set(),
    "resnet_cli.pair": set(),
    "resnet_cli.ranks": {"errors"},
    "resnet_cli.device": {"spec", "errors", "pair"},
    "resnet_cli.model": {"spec", "complexity"},
    "resnet_cli.data": {"spec", "errors", "data"},
    "resnet_cli.train.schedule": {"spec"},
    "resnet_cli.evaluate": {
        "names",
        "spec",
        "errors",
        "run_folder",
        "scores",
        "device",
        "model",
        "data",
        "ranks",
        "evaluate",
    },
    "resnet_cli.train": {
        "spec",
        "errors",
        "run_folder",
        "device",
        "pair",
        "model",
        "ranks",
        "data",
        "evaluate",
        "train",
        VERSION,
    },
    "resnet_cli.timing": {"spec", "errors", "complexity", "data", "device", "evaluate", "model", "train"},
    "resnet_cli.runs.plan": {"experiment", "spec", "errors"},
    "resnet_cli.runs.store": {"experiment", "spec", "errors", "run_folder", "runs.plan"},
    "resnet_cli.runs.estimate": {"spec", "complexity", "train.schedule", "timing", "runs.store"},
    "resnet_cli.runs.fit": {"spec", "complexity", "timing", "runs.estimate"},
    "resnet_cli.runs.measure": {
        "spec",
        "errors",
        "device",
        "data",
        "timing",
        "train.graph_step",
        "runs.settings",
        "runs.one_run",
        "runs.workers",
    },
    "resnet_cli.runs.settings": {"spec", "run_folder", "ranks"},
    "resnet_cli.runs.advice": {"spec", "device", "run_folder", "runs.store"},
    "resnet_cli.runs.one_run": {
        "spec",
        "errors",
        "run_folder",
        "device",
        "ranks",
        "data",
        "evaluate",
        "train",
        "runs.settings",
        "runs.store",
    },
    "resnet_cli.runs.workers": {
        "spec",
        "run_folder",
        "device",
        "train.interrupt",
        "runs.settings",
        "runs.store",
        "runs.one_run",
    },
    "resnet_cli.runs.execute": {
        "spec",
        "errors",
        "device",
        "data",
        "train",
        "runs.settings",
        "runs.store",
        "runs.estimate",
        "runs.one_run",
        "runs.workers",
    },
    "resnet_cli.runs.squeue": {"spec", "run_folder", "runs.store"},
    "resnet_cli.runs.slurm": {
        "spec",
        "errors",
        "run_folder",
        "data",
        "train.interrupt",
        "runs.settings",
        "runs.store",
        "runs.squeue",
        "runs.slurm_task",
    },
    "resnet_cli.runs.slurm_task": {
        "spec",
        "errors",
        "run_folder",
        "runs.settings",
        "runs.store",
        "runs.squeue",
        "runs.execute",
    },
    "resnet_cli.runs": set(),
    "resnet_cli.report": {
        "experiment",
        "spec",
        "errors",
        "run_folder",
        "scores",
        "complexity",
        "runs.plan",
        "runs.store",
        "runs.estimate",
        "report",
        VERSION,
    },
    "resnet_cli.cli": {
        "names",
        "experiment",
        "spec",
        "errors",
        "run_folder",
        "scores",
        "device",
        "pair",
        "complexity",
        "model",
        "ranks",
        "data",
        "evaluate",
        "train",
        "runs",
        "report",
        "timing",
        "cli",
        VERSION,
    },
    "resnet_cli.__main__": {"cli"},
    "resnet_cli": set(),
}
MAY_IMPORT_TORCH = (
    "resnet_cli.model",
    "resnet_cli.device",
    "resnet_cli.timing",
    "resnet_cli.data",
    "resnet_cli.evaluate",
    "resnet_cli.train",
    "resnet_cli.runs.one_run",
    "resnet_cli.runs.workers",
    "resnet_cli.runs.measure",
    "resnet_cli.runs.execute",
)


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


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    """A module imports of ours only what its place in the design allows."""
    allowed = next(allowed for package, allowed in MAY_IMPORT.items() if is_in(module, package))
    ours = {name for name in all_imports(module) if is_in(name, "resnet_cli")}
    wrong = {
        name
        for name in ours
        if not any(name == VERSION if each == VERSION else is_in(name, f"resnet_cli.{each}") for each in allowed)
    }

    assert set() == wrong


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_each_rule_has_its_module(package: str) -> None:
    """No rule is about a module that is no more."""
    assert package in MODULES


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
