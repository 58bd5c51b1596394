"""What is prepared for a lent GPU works, as far as a CPU can tell: the stages, their limits, what goes on where."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import gpu_stages  # noqa: E402  scripts beside this package
import on_gpu  # noqa: E402

STAGES = [stage.name for stage in on_gpu.PLAN]


def call(*arguments: str | Path) -> str:
    """What a call prints."""
    command = [sys.executable, ROOT / "benchmarks/on_gpu.py", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    return done.stdout


@pytest.mark.long
def test_every_stage_is_rehearsed(tmp_path: Path) -> None:
    """On a CPU each is done and packed; a second call does nothing again; the table is short."""
    options = ("--results-dir", tmp_path / "results", "--out", tmp_path / "out", "--device", "cpu", "--tiny")
    options += ("--minutes", "60")  # a busy CPU may take longer than a GPU is lent for
    printed = call(*options).splitlines()
    states = [f"{name:6} done" for name in STAGES]

    assert states == [line.rpartition(",")[0] for line in printed if line[:11] in states]
    assert not [line for line in printed if "FAILED" in line]
    assert "form taken" in "\n".join(printed)
    assert {f"{name}.tar.gz" for name in (*STAGES, "checkpoints", "compiled")} == {
        each.name for each in (tmp_path / "out").iterdir()
    }
    with tarfile.open(tmp_path / "out/train.tar.gz") as archive:
        assert 4 == sum(name.endswith("/eval.csv") for name in archive.getnames())

    again = call(*options).splitlines()
    assert len(again) <= on_gpu.TABLE_LINES
    assert states == [line.rpartition(",")[0] for line in again if line[:11] in states]


def test_without_the_dataset_training_waits(options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages before are done; what is left of the time is not spent on what is worth less."""
    done = []
    monkeypatch.setattr(on_gpu, "do", lambda stage, *_: done.append(stage.name))
    monkeypatch.setattr(
        sys, "argv", ["on_gpu.py", "--results-dir", str(options.results_dir), "--out", str(options.out)]
    )
    on_gpu.main()

    assert ["first", "bench", "tests"] == done
    assert "no CIFAR-10 here yet" == on_gpu.state_of(options.results_dir, on_gpu.PLAN[3])


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    """Of a rehearsal."""
    results, out = tmp_path / "results", tmp_path / "out"
    (results / on_gpu.STAGES).mkdir(parents=True)
    out.mkdir()
    return argparse.Namespace(
        results_dir=results, out=out, data_dir=tmp_path / "data", device="cpu", precision="bf16", tiny=True
    )


def test_a_stage_that_hangs_is_cut(
    options: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its limit it is asked to stop; what it has found by then is packed, and it will be done again."""
    script = tmp_path / "gpu_stages.py"
    script.write_text(
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\n"
        f"pathlib.Path({str(options.results_dir)!r}, 'stages/first.json').write_text('{{}}')\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(on_gpu, "__file__", str(tmp_path / "on_gpu.py"))
    began = time.monotonic()
    on_gpu.do(on_gpu.PLAN[0], options, 3.0)

    assert time.monotonic() - began < on_gpu.GRACE_SECONDS
    assert "cut" == on_gpu.state_of(options.results_dir, on_gpu.PLAN[0])
    with tarfile.open(options.out / "first.tar.gz") as archive:
        assert {f"stages/first.{suffix}" for suffix in ("json", "log", "state")} == set(archive.getnames())


def test_a_call_that_is_ended_ends_its_stage(options: argparse.Namespace, tmp_path: Path) -> None:
    """A stage that went on would have the device to itself, whatever is called next."""
    for name in ("on_gpu.py", "publish.py"):
        (tmp_path / name).write_text((ROOT / "benchmarks" / name).read_text())
    program = (
        "import os, pathlib, time\nwrite = pathlib.Path({!r}).write_text\nwrite(str(os.getpid()))\ntime.sleep(60)\n"
    )
    (tmp_path / "gpu_stages.py").write_text(program.format(str(tmp_path / "pid")))
    command = [sys.executable, tmp_path / "on_gpu.py", "--results-dir", options.results_dir, "--out", options.out]
    with subprocess.Popen([str(each) for each in command], stdout=subprocess.DEVNULL) as process:
        for _ in range(600):
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
                break
            time.sleep(0.1)
        process.terminate()
    stage = int((tmp_path / "pid").read_text())

    with pytest.raises(ProcessLookupError):
        os.kill(stage, 0)
    assert (options.out / "first.tar.gz").exists()


def test_a_dataset_comes_in_parts(options: argparse.Namespace, tmp_path: Path) -> None:
    """Nothing is unpacked before the last part is there."""
    options.unpack, options.files = "unpack.py", 3
    program = "import pathlib, sys; pathlib.Path(sys.argv[1], 'whole').touch()"
    for number, names in enumerate((["a"], ["b/c", "unpack.py"])):
        assert not (options.data_dir / "whole").exists()
        options.part = tmp_path / f"part{number}"
        for name in names:
            path = options.part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(program)
        on_gpu.join_parts(options)

    assert ["whole"] == [each.name for each in options.data_dir.iterdir()]


def test_training_goes_on_from_an_earlier_machine(options: argparse.Namespace, tmp_path: Path) -> None:
    """What was packed there is unpacked here, checkpoints and finished stages included."""
    results = options.results_dir
    checkpoint = results / "runs/resnet-8-s0/checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"momentum")
    for stage in on_gpu.PLAN[:4]:
        on_gpu.note(results, stage, "done", 1.0)
        on_gpu.pack(results, options.out, stage.name)
    on_gpu.unpack_earlier(options.out, tmp_path / "fresh")

    assert b"momentum" == (tmp_path / "fresh/runs/resnet-8-s0/checkpoint.pt").read_bytes()
    assert ["done"] * 4 == [on_gpu.state_of(tmp_path / "fresh", stage) for stage in on_gpu.PLAN[:4]]


@pytest.mark.parametrize("most_bytes", [10_000, 10])
def test_what_was_compiled_goes_along(
    most_bytes: int, options: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh machine finds it where the stages look for it; what would be too large to carry is left."""
    kernel = options.results_dir / on_gpu.COMPILED / "triton/kernel.cubin"
    kernel.parent.mkdir(parents=True)
    kernel.write_bytes(b"code")
    monkeypatch.setattr(on_gpu, "MOST_BYTES", most_bytes)
    on_gpu.pack_compiled(options.results_dir, options.out)
    on_gpu.unpack_earlier(options.out, tmp_path / "fresh")

    is_small = most_bytes > 10
    assert ["compiled.tar.gz"] * is_small == [each.name for each in options.out.iterdir()]
    assert is_small == (tmp_path / "fresh/compiled/triton/kernel.cubin").exists()


def test_the_table_is_short(options: argparse.Namespace) -> None:
    """However much was found, at most 25 lines, of at most 160 characters."""
    for stage in on_gpu.PLAN:
        on_gpu.note(options.results_dir, stage, "done", 1.0)
        found = {f"{stage.name} {number}": "x" * 500 for number in range(30)}
        (options.results_dir / on_gpu.STAGES / f"{stage.name}.json").write_text(json.dumps(found))
    lines = on_gpu.table(options.results_dir)

    assert on_gpu.TABLE_LINES == len(lines)
    assert 160 == max(map(len, lines))


@pytest.mark.long
def test_trainings_in_threads_are_those_alone(
    options: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nets side by side in one process end with the bits of one after the other."""
    monkeypatch.setattr(gpu_stages.graph_step, "obstacle", lambda _: "nothing is compiled here")
    monkeypatch.setattr(gpu_stages.proof, "obstacle", lambda *_: None)
    monkeypatch.setitem(gpu_stages.graph_step.MOST_LAYERS, "cpu", 60)
    monkeypatch.setattr(gpu_stages, "DEEPEST_TINY", 20)
    monkeypatch.setattr(gpu_stages.signal, "signal", lambda *_: None)
    weights = []
    for jobs in (1, 2):
        options.results_dir = tmp_path / str(jobs)
        (options.results_dir / on_gpu.STAGES).mkdir(parents=True)
        rates = {"updates a second of resnet-20 side by side": str({1: 1.0, 2: 3.0 - jobs, 3: 0.0, jobs: 9.0})}
        (options.results_dir / on_gpu.STAGES / "bench.json").write_text(json.dumps(rates))
        gpu_stages.train(options, gpu_stages.Notes(options.results_dir, "train"))
        weights.append({path.parent.name: path.read_bytes() for path in options.results_dir.glob("runs/*/weights*")})

    assert ["2", "1"] == [
        json.loads((tmp_path / str(jobs) / "stages/train.json").read_text())["side by side in one process"]
        for jobs in (2, 1)
    ]
    assert 2 == len(weights[0])
    assert weights[0] == weights[1]
