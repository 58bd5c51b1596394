from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_tasks import IMAGENET

from resnet_cli.errors import BadInputError
from resnet_cli.experiment import Experiment, experiment_names, experiments_folder, load_experiment
from resnet_cli.identity import Variant

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'title = "T"\nquestion = "Q?"\nsection = "4.2"\n'
RUNS = '[[runs]]\nnets = ["resnet-20", "plain-20"]\n'


def error_of(path: Path) -> str:
    """What is wrong with an experiment file, by its reader."""
    with pytest.raises(BadInputError) as caught:
        load_experiment(str(path))
    return str(caught.value)


def test_experiments_come_with_the_program() -> None:
    """The paper's experiments are found by name."""
    assert {"table6", "fig1", "fig6"} <= set(experiment_names())
    assert "table6" == load_experiment("table6").name


def test_own_file(tmp_path: Path) -> None:
    """A user's own file is loaded by its path and named after it."""
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + RUNS, encoding="utf-8")
    experiment = load_experiment(str(path))

    assert ("mine", ["resnet-20", "plain-20"]) == (experiment.name, [net.name for net in experiment.nets])
    assert [1] == [group.seeds for group in experiment.runs]


def test_unknown_experiment() -> None:
    """An unknown name is refused with the names there are."""
    with pytest.raises(BadInputError) as caught:
        load_experiment("table15")

    known = ", ".join(experiment_names())
    assert f"unknown experiment 'table15'; there are {known}, or give a .toml file" == str(caught.value)


@pytest.mark.parametrize("name", ["../experiments/table6", "", ".", "table6/", "TABLE6"])
def test_name_is_not_a_path(name: str) -> None:
    """A name leads to no file outside the folder of experiments."""
    with pytest.raises(BadInputError, match="unknown experiment"):
        load_experiment(name)


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    path = tmp_path / "mine.toml"

    assert f"{path}: No such file or directory" == error_of(path)


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    """A folder with a file's name is named."""
    path = tmp_path / "mine.toml"
    path.mkdir()

    assert f"{path}: Is a directory" == error_of(path)


def test_not_utf8(tmp_path: Path) -> None:
    """A file that is not UTF-8 is named, and where it goes wrong."""
    path = tmp_path / "mine.toml"
    path.write_bytes(b'title = "\xff"')

    assert f"{path}: not UTF-8 text: invalid start byte at byte 9; save it as UTF-8" == error_of(path)


@pytest.mark.parametrize(
    "text",
    [
        "title = ",
        "title = 'T'\ntitle = 'T'",
        "[[runs]",
        "runs = " + 10_000 * "[",
        "seeds = " + 5_000 * "9",  # Python reads no decimal number of more than 4,300 digits
    ],
    ids=["no value", "twice", "no bracket", "deep", "long number"],
)
def test_not_toml(tmp_path: Path, text: str) -> None:
    """A file that is not TOML is named, in one line."""
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    message = error_of(path)

    assert message.startswith(f"{path}: not TOML: ")
    assert [message] == message.splitlines()


LESS = '[[claims]]\nkind = "less"\ntext = "t"\nleft = 1.0\nright = "resnet-20"\n'
ROWS = "".join(f'[[rows]]\nlabel = "row {number}"\n' for number in range(3))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("colour = 1\n" + HEAD + RUNS, "colour: Extra inputs are not permitted"),
        (HEAD + RUNS + "sedes = 3\n", "runs.0.sedes: Extra inputs are not permitted"),
        (HEAD, "has neither [[runs]] to make nor [[architectures]] to describe"),
        (HEAD + "runs = []\n", "has neither [[runs]] to make nor [[architectures]] to describe"),
        ('test = "10-crop"\n' + HEAD + RUNS, "test: 10-crop is for ImageNet; CIFAR-10 is tested on the single view"),
        ('dataset = "imagenet"\n' + HEAD + RUNS, "resnet-20: ImageNet's nets have 18, 34, 50, 101, 152 layers"),
        ('dataset = "mnist"\n' + HEAD + RUNS, "dataset: Input should be "),
        (
            HEAD + RUNS + "[protocol.photos]\ncrop = 224\n",
            "protocol.photos: only for ImageNet and ImageNet LOC",
        ),
        (
            HEAD + RUNS + '[[rows]]\nlabel = "two"\nensemble = ["resnet-20", "resnet-20"]\n',
            "row 'two': names resnet-20 2 times; its seeds in [[runs]]: 1",
        ),
        (
            HEAD + RUNS + '[[rows]]\nlabel = "both"\nnet = "resnet-20"\nensemble = ["resnet-20"]\n',
            "rows.0: row 'both': has a net and an ensemble; a row shows one of them",
        ),
        (
            HEAD + RUNS + ROWS + '[[rows]]\nlabel = "row 3"\nerror = "high"\n',
            "rows.3.error: Input should be a valid number, unable to parse string as a number",
        ),
        (HEAD + RUNS + "seeds = 0\n", "runs.0.seeds: Input should be greater than or equal to 1"),
        (HEAD + RUNS + "[protocol]\nmilestones = [4, 2]\n", "protocol: milestones must "),
        (HEAD + RUNS + "[protocol]\nlearning_rate = inf\n", "protocol.learning_rate: Input should be a finite number"),
        (HEAD + '[[runs]]\nnets = ["resnet-21"]\n', "resnet-21: depth 21 is not 6n+2 (8, 14, 20, 26, 32, 38, 44, ...)"),
        (
            HEAD + '[[runs]]\nnets = ["vgg-16"]\n',
            "runs.0.nets.0: 'vgg-16' is not a net; write plain-20, resnet-20, resnet-20-B ...",
        ),
        (
            HEAD + '[[runs]]\nnets = ["resnet-{depth}"]\n',
            "runs.0.nets.0: 'resnet-{depth}' is not a net; write plain-20, resnet-20, resnet-20-B ...",
        ),
        ("depths = [8, 21]\n" + HEAD + '[[runs]]\nnets = ["resnet-{depth}"]\n', "resnet-21: depth 21 is not 6n+2"),
        ("depths = [8, -4]\n" + HEAD + RUNS, "depths.1: Input should be greater than 0"),
        ("depths = 8\n" + HEAD + RUNS, "depths: Input should be a valid tuple"),
        (
            HEAD + RUNS + '[[rows]]\nlabel = "ResNet"\nnet = "resnet-32"\n',
            "row 'ResNet': resnet-32 is in no [[runs]]",
        ),
        (
            HEAD + RUNS + '[[claims]]\nkind = "near"\n',
            "claims.0: Input tag 'near' found using 'kind' does not match any of the expected tags: 'less', 'within'",
        ),
        (
            HEAD + RUNS + '[[claims]]\nkind = "less"\ntext = "t"\nleft = 1.0\nright = 2.0\n',
            "claims.0.less: left and right are both numbers; one must be a net",
        ),
        (
            'analysis = "responses"\ntest = "10-crop"\ndataset = "imagenet"\n'
            + HEAD
            + '[[runs]]\nnets = ["resnet-18"]\n',
            "analysis: replaces the test; leave out test = 10-crop",
        ),
        (
            'analysis = "training-set"\ndataset = "imagenet"\n' + HEAD + '[[runs]]\nnets = ["resnet-18"]\n',
            "analysis: training-set is for CIFAR-10",
        ),
        (
            HEAD + RUNS + LESS + 'metric = "mean_response"\n',
            "claim 't': mean_response needs analysis = \"responses\"",
        ),
        (
            'analysis = "gradients"\n' + HEAD + RUNS + LESS + 'metric = "training_set_error"\n',
            "claim 't': training_set_error needs analysis = \"training-set\"",
        ),
        (HEAD + RUNS + LESS + 'metric = "updates_to_reach"\n', "claim 't': updates_to_reach needs reach, in percent"),
        (
            HEAD + RUNS + '[[claims]]\nkind = "same-start"\ntext = "t"\nnet = "resnet-20"\ntolerance = 1\n',
            "claims.0.same-start: resnet-20: starts from scratch; name a net like plain-56-from-20",
        ),
        (
            HEAD + RUNS + '[figure]\ntitle = "F"\n[[figure.panels]]\ntitle = "P"\nkind = "layers"\n',
            "figure: panel 'P' of layers needs analysis = responses or gradients",
        ),
        (
            'analysis = "responses"\n'
            + HEAD
            + RUNS
            + '[figure]\ntitle = "F"\n[[figure.panels]]\ntitle = "P"\nkind = "layers"\nweights = "start"\n',
            "figure: panel 'P' of layers needs analysis = gradients",
        ),
        (HEAD + RUNS + '[figure]\ntitle = "F"\npanels = []\n', "figure.panels: Tuple should have at least 1 item"),
        (HEAD + '"two\\nlines" = 1\n' + RUNS, "two lines: Extra inputs are not permitted"),
        (
            HEAD + '[[runs]]\nnets = [{family = "resnet", depth = 600_000_000_002, shortcut = "A"}]\n',
            "runs.0.nets.0.depth: Input should be less than or equal to 99999",
        ),
        (HEAD + RUNS + f"[protocol]\niterations = {10**400:#x}\n", "protocol.iterations: Input should be less than"),
        (
            HEAD + RUNS + "[protocol]\nbatch_size = 1_000_000_000_000\n",
            "protocol.batch_size: Input should be less than",
        ),
        (
            HEAD + RUNS + f"[protocol.warmup]\nfrom_depth = {10**5000:#x}\n",
            "protocol.warmup.from_depth: Input should be",
        ),
        (f"depths = [{1_000 * '8, '}]\n" + HEAD + RUNS, "depths: Tuple should have at most 50 items"),
        (
            f'name = "{200 * "n"}"\n' + HEAD + RUNS,
            "name and depths: 200 bytes together; a file's name has room for 150",
        ),
        ('name = "two\\u0000halves"\n' + HEAD + RUNS, "name: String should match pattern"),
        (HEAD.replace("Q?", 2_000 * "?") + RUNS, "question: String should have at most 1000 characters"),
        (HEAD + RUNS + ROWS + "error = 4_000.0\n", "rows.2.error: Input should be less than or equal to 100"),
        (
            HEAD + RUNS + '[figure]\ntitle = "F"\ny_min = 20\n[[figure.panels]]\ntitle = "P"\n',
            "figure: y_min 20: must be below y_max, 20",
        ),
        (
            HEAD + RUNS + '[[claims]]\nkind = "less"\ntext = "t"\nleft = "resnet-20"\nright = [1]\n',
            "claims.0.less.right: Input should be a valid dictionary or instance of Net",
        ),
        (
            'dataset = "imagenet"\n' + HEAD + '[[architectures]]\nlabel = "two"\nnet = "plain-2"\nflops = 1e9\n',
            "plain-2: ImageNet's nets have 18, 34, 50, 101, 152 layers (Table 1)",
        ),
    ],
)
def test_wrong_content(tmp_path: Path, text: str, problem: str) -> None:
    """What is wrong inside a file is told in one line, with the file and the field."""
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    message = error_of(path)

    assert message.startswith(f"{path}: {problem}")
    assert [message] == message.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        '[[claims]]\nkind = "less"\ntext = "t"\nleft = "resnet-{0}"\nright = 9.0\n',
        '[[claims]]\nkind = "less"\ntext = "t"\nleft = 9.0\nright = "resnet-{0}"\n',
        '[[claims]]\nkind = "within"\ntext = "t"\nnet = "resnet-{0}"\nvalue = 9.0\ntolerance = 1.0\n',
        '[[claims]]\nkind = "monotone"\ntext = "t"\nnets = ["resnet-20", "resnet-{0}"]\n',
        '[figure]\ntitle = "F"\n[[figure.panels]]\ntitle = "P"\nnets = ["resnet-{0}"]\n',
    ],
    ids=["left", "right", "within", "monotone", "panel"],
)
def test_every_net_has_a_depth_that_can_be(tmp_path: Path, text: str) -> None:
    """A claim or a panel may speak of a net that the file does not train, but of none that cannot be."""
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + RUNS + text.format(32), encoding="utf-8")

    assert "resnet-32" in [net.name for net in load_experiment(str(path)).nets_named()]

    path.write_text(HEAD + RUNS + text.format(21), encoding="utf-8")

    assert f"{path}: resnet-21: depth 21 is not 6n+2 (8, 14, 20, 26, 32, 38, 44, ...)" == error_of(path)


SWEEP = """
title = "From {shallow} to {deep}"
question = "Q?"
section = "4.2"
depths = [14, 8, 20]

[[runs]]
nets = ["plain-{depth}", "resnet-{depth}-B", "resnet-44"]
seeds = 2

[[claims]]
kind = "less"
text = "{deep} beats {shallow}"
left = "plain-{deep}"
right = "plain-{shallow}"

[figure]
title = "F"

[[figure.panels]]
title = "P"
nets = ["plain-{depth}"]
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """An experiment's file that sweeps depths."""
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("depths", "swept", "shallow", "deep"),
    [(None, [14, 8, 20], 8, 20), ([20, 26], [20, 26], 20, 26), ((110, 56, 8), [110, 56, 8], 8, 110)],
)
def test_sweep(sweep: Path, depths: list[int] | None, swept: list[int], shallow: int, deep: int) -> None:
    """A sweep's names and texts are filled in with the file's depths, or with those of --depths."""
    experiment = load_experiment(str(sweep), depths)
    plain, residual = [f"plain-{depth}" for depth in swept], [f"resnet-{depth}-B" for depth in swept]

    assert [*plain, *residual, "resnet-44"] == [net.name for net in experiment.nets]
    assert [f"plain-{deep}", f"plain-{shallow}", *plain] == [net.name for net in experiment.nets_named()]
    assert (f"From {shallow} to {deep}", f"{deep} beats {shallow}") == (experiment.title, experiment.claims[0].text)
    assert tuple(swept) == experiment.depths


def test_depths_without_a_sweep() -> None:
    """--depths is refused by an experiment that sweeps no depth."""
    with pytest.raises(BadInputError, match="--depths: table6 has no depth sweep"):
        load_experiment("table6", [8, 20])


@pytest.mark.parametrize(
    ("depths", "problem"),
    [
        ([8, 21], "--depths: plain-21: depth 21 is not 6n+2 (8, 14, 20, 26, 32, 38, 44, ...)"),
        ([2, 8], "--depths: plain-2: depth 2 is not 6n+2 (8, 14, 20, 26, 32, 38, 44, ...)"),
        ([8, 0], "--depths: depths.1: Input should be greater than 0"),
        ([-4, 8], "--depths: depths.0: Input should be greater than 0"),
        ([8, 100_004], "'plain-100004' is not a net; write plain-20, resnet-20, resnet-20-B ..."),
        ([8, 8], "--depths 8: give two depths or more"),
    ],
)
def test_depths_that_are_none(sweep: Path, depths: list[int], problem: str) -> None:
    """A depth that no net has is refused, and one line says what is wrong with it."""
    with pytest.raises(BadInputError) as caught:
        load_experiment(str(sweep), depths)

    assert str(caught.value).startswith("--depths")
    assert problem in str(caught.value)
    assert [str(caught.value)] == str(caught.value).splitlines()


@pytest.fixture(scope="session")
def any_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to write anything into."""
    return tmp_path_factory.mktemp("experiments") / "any.toml"


def load_or_refuse(path: Path) -> None:
    """Loads an experiment; if it cannot be used, one line says so."""
    try:
        experiment = load_experiment(str(path))
    except BadInputError as error:
        assert [str(error)] == str(error).splitlines()  # noqa: PT017  loading well is fine too
    else:
        assert isinstance(experiment, Experiment)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@settings(max_examples=200, deadline=None)
def test_any_bytes(any_file: Path, content: bytes) -> None:
    """Whatever bytes a file holds, its reader refuses it with one line."""
    any_file.write_bytes(content)
    load_or_refuse(any_file)


VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["resnet-20", "less"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_damage(any_file: Path, data: st.DataObject) -> None:
    """A good file, one piece of which was replaced by anything, is still an experiment or refused with one line."""
    text = (experiments_folder() / data.draw(st.sampled_from(["table6.toml", "fig1.toml", "depth.toml"]))).read_text(
        encoding="utf-8"
    )
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    # JSON's values are TOML's too, but for objects, which are damage enough.
    piece = data.draw(st.text(max_size=8) | VALUES.map(json.dumps))
    any_file.write_bytes((text[:start] + piece + text[end:]).encode("utf-8", "replace"))
    load_or_refuse(any_file)


def test_imagenet_file(tmp_path: Path) -> None:
    """On ImageNet the protocol is section 3.4's unless the file says otherwise; bare deep nets have option B."""
    path = tmp_path / "mine.toml"
    runs = '[[runs]]\nnets = ["resnet-34", "resnet-50"]\n[protocol]\niterations = 1_000\n'
    path.write_text('dataset = "imagenet"\ntest = "dense"\n' + HEAD + runs, encoding="utf-8")
    experiment = load_experiment(str(path))

    assert ["resnet-34-A", "resnet-50-B"] == [net.full_name for net in experiment.nets]
    assert IMAGENET.protocol.model_copy(update={"iterations": 1_000}) == experiment.protocol
    assert "OWN PROTOCOL, not section 3.4's; its whole schedule; ImageNet; fp32" == experiment.scale(
        Variant(dataset="imagenet")
    )
