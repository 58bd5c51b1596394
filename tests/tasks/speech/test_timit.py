"""TIMIT's folder as users have it: what is read, what is left out, and what is told of a folder that is wrong."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from timit_tree import make_tree, riff, sphere

from resnet_cli.cli.main import _exit_code
from resnet_cli.errors import BadInputError
from resnet_cli.tasks.speech import audio, timit
from resnet_cli.tasks.speech.recording import NO_CLASS, labels_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[Path], object]

LABELS = (
    *("aa", "ae", "ah", "ao", "aw", "ax", "ax-h", "axr", "ay", "b", "bcl", "ch", "d", "dcl", "dh", "dx"),
    *("eh", "el", "em", "en", "eng", "epi", "er", "ey", "f", "g", "gcl", "h#", "hh", "hv", "ih", "ix"),
    *("iy", "jh", "k", "kcl", "l", "m", "n", "ng", "nx", "ow", "oy", "p", "pau", "pcl", "q", "r"),
    *("s", "sh", "t", "tcl", "th", "uh", "uw", "ux", "v", "w", "y", "z", "zh"),
)
EXPERIMENT = """
title = "A made tree"
question = "Does it pass?"
section = "none"
dataset = "spoken"
analysis = "noise"

[protocol]
batch_size = 4
iterations = 4
milestones = [3]

[[runs]]
nets = ["wrbn-10-1-linear", "plain-wrbn-10-1"]

[figure]
title = "Noise"
y_max = 100

[[figure.panels]]
title = "noise"
kind = "noise"

[[figure.panels]]
title = "curves"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six speakers, three sentences each."""
    return make_tree(tmp_path)


def test_the_61_labels_become_39_classes() -> None:
    """Lee and Hon's, the glottal stop none of them."""
    classes = {timit.NUMBERS[label] for label in LABELS}

    assert 61 == len(LABELS)
    assert set(LABELS) | {"sil"} == set(timit.NUMBERS)
    assert 39 == len(timit.CLASSES) == len(classes - {NO_CLASS})
    assert "sil" == timit.CLASSES[0]
    for label, name in (("ao", "aa"), ("zh", "sh"), ("tcl", "sil"), ("ix", "ih"), ("nx", "n"), ("ng", "ng")):
        assert name == timit.CLASSES[timit.NUMBERS[label]]
    assert NO_CLASS == timit.NUMBERS["q"]


def test_the_core_test_has_16_men_and_8_women() -> None:
    """Two men and a woman of each of eight regions."""
    assert (16, 8) == tuple(sum(name.startswith(sex) for name in timit.CORE) for sex in "mf")


def test_sentences_that_all_say_are_left_out(tree: Path) -> None:
    """Four speakers to train on and two to test on, two sentences each; it is a part of TIMIT, and says which."""
    corpus = timit.scan(tree)

    assert (4, 8, 2, 4) == corpus.counts
    assert {"sx1", "si2"} == {each.name for each in corpus.train}
    assert "4 training speakers of 462" in str(timit.missing(corpus))
    assert corpus.source.startswith("timit-6-speakers-")
    assert corpus.source == timit.scan(tree.parent).source


def test_the_core_test_is_taken_where_it_is_whole(tree: Path) -> None:
    """Of more test speakers; a part of it is no core test."""
    for speaker in timit.CORE:
        shutil.copytree(tree / "TEST/DR1/FEEE0", tree / "TEST/DR8" / speaker.upper())

    assert timit.CORE == {each.speaker for each in timit.scan(tree).test}
    shutil.rmtree(tree / "TEST/DR8/MDAB0")
    assert 25 == len({each.speaker for each in timit.scan(tree).test})


def test_the_whole_is_known_by_its_numbers(tmp_path: Path) -> None:
    """462 speakers of 8 sentences and the core test are TIMIT, though no file is opened to see it."""
    speakers = [*((f"TRAIN/DR1/M{number:03}0") for number in range(462)), *(f"TEST/DR1/{each}" for each in timit.CORE)]
    for speaker in speakers:
        folder = tmp_path / speaker
        folder.mkdir(parents=True)
        for sentence in ("SA1", *(f"SX{number}" for number in range(5)), *(f"SI{number}" for number in range(3))):
            (folder / f"{sentence}.WAV").touch()
            (folder / f"{sentence}.PHN").touch()

    assert timit.scan(tmp_path).is_whole
    (tmp_path / "TRAIN/DR1/M0000/SX0.WAV").unlink()
    (tmp_path / "TRAIN/DR1/M0000/SX0.PHN").unlink()
    assert "3,695 training utterances of 3,696" == timit.missing(timit.scan(tmp_path))


def test_names_may_be_small_and_files_riff(tree: Path) -> None:
    """A lower-case copy holds the same; of `x.wav` and `x.wav.wav` the second counts, whatever the names say."""
    before = timit.recordings(timit.scan(tree).train)
    for path in sorted(tree.rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.lower()))
    for path in list(tree.rglob("*.wav")):
        path.with_name(f"{path.name}.wav").write_bytes(riff(audio.read(path)))
        path.write_bytes(b"not to be read")
    after = timit.recordings(timit.scan(tree).train)

    assert [each.name for each in before] == [each.name for each in after]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize("kind", ["sphere", "swapped", "riff"])
def test_samples_are_read_from_either_kind(tmp_path: Path, kind: str) -> None:
    """NIST SPHERE of both byte orders, and RIFF, under any name."""
    samples = np.array([1, -2, 300, 32_767, -32_768], np.int16)
    swapped = sphere(samples.byteswap()).replace(b"byte_format -s2 01", b"byte_format -s2 10")
    content = {"sphere": sphere(samples), "riff": riff(samples), "swapped": swapped}[kind]
    (tmp_path / "x.any").write_bytes(content)

    np.testing.assert_array_equal(samples, audio.read(tmp_path / "x.any"))


def test_labels_are_those_of_the_frames_middles(tmp_path: Path) -> None:
    """A boundary at sample 360 is the middle of frame 1; the glottal stop has no class; the rest is silence."""
    (tmp_path / "x.phn").write_text("0 360 h#\n360 520 ix\n520 680 q\n")
    starts, phones = timit.read_phones(tmp_path / "x.phn")
    names = [
        timit.CLASSES[label] if label != NO_CLASS else None for label in labels_of(np.zeros(1_040), starts, phones)
    ]

    assert ["sil", "ih", None, "sil", "sil"] == names


BROKEN: dict[str, tuple[Change, str]] = {
    "compressed": (
        lambda path: path.with_suffix(".WAV").write_bytes(
            sphere(np.zeros(9, np.int16), "sample_coding -s26 pcm,embedded-shorten-v2.00\n")
        ),
        "SX1.WAV: NIST SPHERE compressed as pcm,embedded-shorten-v2.00; decompress it first",
    ),
    "no PHN": (lambda path: path.unlink(), "SX1.PHN: missing; its other file is there"),
    "no WAV": (lambda path: path.with_suffix(".WAV").unlink(), "SX1.WAV: missing; its other file is there"),
    "backwards": (lambda path: path.write_text("0 300 h#\n200 900 aa\n"), "SX1.PHN:2: boundaries must begin at 0"),
    "empty phone": (lambda path: path.write_text("0 300 h#\n300 300 aa\n"), "never run backwards: 300 to 300"),
    "late": (lambda path: path.write_text("100 300 h#\n"), "boundaries must begin at 0"),
    "unknown": (lambda path: path.write_text("0 300 xx\n"), "SX1.PHN:1: 'xx' is not one of TIMIT's 61 labels"),
    "words": (lambda path: path.write_text("what is this\n"), "SX1.PHN:1: not '<begin> <end> <label>': what is this"),
    "nothing": (lambda path: path.write_text("\n"), "SX1.PHN: no phones in it"),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe"), "SX1.PHN: not a text of phones"),
    "cut off": (
        lambda path: path.with_suffix(".WAV").write_bytes(sphere(np.zeros(900, np.int16))[:-10]),
        "SX1.WAV: cut off: 895 of 900 samples",
    ),
    "header": (lambda path: path.with_suffix(".WAV").write_bytes(b"NIST_1A\n   1024\n"), "not a whole header"),
    "riff": (lambda path: path.with_suffix(".WAV").write_bytes(b"RIFF...."), "not a whole RIFF file"),
    "rate": (lambda path: path.with_suffix(".WAV").write_bytes(riff(np.zeros(900, np.int16), 8_000)), "8000 Hz"),
    "other": (lambda path: path.with_suffix(".WAV").write_bytes(b"OggS"), "neither NIST SPHERE nor RIFF"),
    "short": (lambda path: path.with_suffix(".WAV").write_bytes(sphere(np.zeros(9, np.int16))), "9 samples; a frame"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_one_line(tree: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`data verify` names the file and what to do, and ends with exit code 2."""
    change, told = BROKEN[case]
    change(tree / "TRAIN/DR1/FAAA0/SX1.PHN")

    assert 2 == _exit_code(["data", "verify", "timit", "--dataset-root", str(tree)])
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_is_not_timits(tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line: of any folder, of a part without a test set, and of a part where the whole is asked for."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "data").mkdir()
    tree.rename(tmp_path / "data/timit")
    for arguments, told in (
        (["--dataset-root", str(tmp_path / "empty")], "not TIMIT's folder: it has no TRAIN/DR1/"),
        (
            ["--data-dir", str(tmp_path / "empty")],
            "timit: no such folder; give TIMIT's folder (LDC93S1) with --dataset-root",
        ),
        (["--data-dir", str(tmp_path / "data")], "not the whole of TIMIT: 4 training speakers of 462"),
    ):
        assert 2 == _exit_code(["data", "verify", "timit", *arguments])
        assert told in " ".join(capsys.readouterr().err.split())
    shutil.rmtree(tmp_path / "data/timit/TEST")
    with pytest.raises(BadInputError, match="no utterance in TEST/DR1"):
        timit.scan(tmp_path / "data/timit")


def test_a_made_tree_passes_through_everything(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verified, trained on, tested in noise, tabled, drawn: 80 mels, 39 classes, named as the part that it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(EXPERIMENT, encoding="utf-8")
    root = ["--dataset-root", str(tree)]

    def said(*words: str) -> str:
        code = _exit_code([*words])
        out, err = capsys.readouterr()

        assert 0 == code, err
        return out

    assert "8 utterances of 4 speakers to train on, 4 of 2 to test on, each of them read" in said(
        "data", "verify", "timit", *root
    )
    said("run", "mine.toml", *root, "--device", "cpu")
    rows = json.loads(said("table", "mine.toml", *root, "--format", "json"))["rows"]
    run = next((tmp_path / "results/runs").glob("wrbn-10-1-linear-timit-part-*"))
    kept = np.load(run / "predictions.npz")

    assert [1, 1] == [row["n"] for row in rows]
    assert all(0 < row["test_frame_error"] <= 100 for row in rows)
    assert 39 == kept["logits"].shape[1]
    assert "timit-6-speakers-" in json.loads((run / "environment.json").read_text())["data"]
    assert ["snr,error,speech_error", "-5", "0", "5", "10", "15", "20"] == [
        line if number == 0 else line.partition(",")[0]
        for number, line in enumerate((run / "noise.csv").read_text().splitlines())
    ]
    assert said("plot", "mine.toml", *root, "--format", "svg").strip().endswith(".svg")
    assert said("plot", "phones", run.name, *root).strip().endswith(f"phones-{run.name}.png")
    assert 2 == _exit_code(["eval", "wrbn-10-1-linear", "--weights", str(run)])
    assert "eval tests nets that classify images" in capsys.readouterr().err
    (tree / "TRAIN/DR1/FAAA0/SX1.PHN").unlink()
    (tree / "TRAIN/DR1/FAAA0/SX1.WAV").unlink()
    assert 2 == _exit_code(["plot", "phones", run.name, *root])
    assert "another folder, or changed since" in " ".join(capsys.readouterr().err.split())
