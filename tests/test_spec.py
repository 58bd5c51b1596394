from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from resnet_cli.errors import BadInputError
from resnet_cli.experiment import Experiment, experiment_names, experiments_folder, load_experiment
from resnet_cli.runs.plan import plan
from resnet_cli.spec import Net, Protocol, RunSpec, Variant, Warmup

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'title = "T"\nquestion = "Q?"\nsection = "4.2"\n'
RUNS = '[[runs]]\nnets = ["resnet-20", "plain-20"]\n'

# A run's id is the name of its folder: if one of these changes, finished runs are no longer found.
KNOWN_IDS = {
    "paper": (
        Variant(),
        [
            "resnet-20-cifar10-24817b5e-s0",
            "resnet-32-cifar10-258c52dc-s0",
            "resnet-44-cifar10-6999248d-s0",
            "resnet-56-cifar10-0dfac153-s0",
            "resnet-110-cifar10-eb2827e5-s0",
            "resnet-1202-cifar10-c8d349e2-s0",
            "resnet-110-cifar10-eb2827e5-s1",
            "resnet-110-cifar10-eb2827e5-s2",
            "resnet-110-cifar10-eb2827e5-s3",
            "resnet-110-cifar10-eb2827e5-s4",
        ],
    ),
    "bf16": (Variant(precision="bf16"), ["resnet-20-cifar10-395433ef-s0"]),
    "schedule 0.05": (Variant(schedule=0.05), ["resnet-20-cifar10-01a0a49c-s0"]),
    "tiny": (Variant(dataset="synthetic", tiny=True), ["resnet-20-synthetic-d99b5bab-s0"]),
}


def net(name: str) -> Net:
    """The net of this name."""
    return Net.model_validate(name)


def error_of(path: Path) -> str:
    """What is wrong with an experiment file, by its reader."""
    with pytest.raises(BadInputError) as caught:
        load_experiment(str(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "family", "depth", "shortcut", "name", "full_name"),
    [
        ("plain-20", "plain", 20, None, "plain-20", "plain-20"),
        ("resnet-20", "resnet", 20, "A", "resnet-20", "resnet-20-A"),
        ("resnet-20-A", "resnet", 20, "A", "resnet-20", "resnet-20-A"),
        ("resnet-56-B", "resnet", 56, "B", "resnet-56-B", "resnet-56-B"),
        ("resnet-1202-C", "resnet", 1202, "C", "resnet-1202-C", "resnet-1202-C"),
    ],
)
def test_net_names(written: str, family: str, depth: int, shortcut: str | None, name: str, full_name: str) -> None:
    """A net's name gives family, depth and shortcut, option A unless said; each net has one canonical name."""
    parsed = net(written)

    assert (family, depth, shortcut) == (parsed.family, parsed.depth, parsed.shortcut)
    assert (name, full_name) == (parsed.name, parsed.full_name)
    assert parsed == net(name) == net(full_name)


@pytest.mark.parametrize(
    "name",
    ["", "resnet-", "resnet", "resnet-20-D", "resnet-20-", "plain-20-A", "vgg-16", "ResNet-20", " resnet-20", "20",
     "resnet--20", "resnet-20.0", "resnet-100000", "resnet-{depth}"],
)  # fmt: skip
def test_not_a_net(name: str) -> None:
    """What is not a net's name is refused, with examples of names."""
    with pytest.raises(ValidationError, match=r"is not a net; write plain-20, resnet-20, resnet-20-B"):
        net(name)


@pytest.mark.parametrize(("depth", "n"), [(8, 1), (20, 3), (32, 5), (44, 7), (56, 9), (110, 18), (1202, 200)])
def test_blocks(depth: int, n: int) -> None:
    """A CIFAR-10 net of 6n+2 layers has n blocks at each feature-map size (section 4.2)."""
    assert n == net(f"plain-{depth}").cifar_blocks


@pytest.mark.parametrize("depth", [1, 2, 7, 9, 18, 21, 34, 101, 1000])
def test_other_depths(depth: int) -> None:
    """A depth that is not 6n+2 is refused, and the message names depths that are."""
    with pytest.raises(ValueError, match=rf"depth {depth} is not 6n\+2 \(8, 14, 20, 26, 32, 38, 44, ...\)"):
        _ = net(f"resnet-{depth}").cifar_blocks
    with pytest.raises(ValidationError, match=rf"depth {depth} is not 6n\+2"):
        RunSpec.of(net(f"resnet-{depth}"), Variant(), Protocol(), 0)


def test_protocol_is_section_4_2() -> None:
    """The default protocol is section 4.2's, to the number."""
    expected = {
        "batch_size": 128,
        "learning_rate": 0.1,
        "milestones": (32_000, 48_000),
        "iterations": 64_000,
        "momentum": 0.9,
        "weight_decay": 0.0001,
        "warmup": {"from_depth": 110, "learning_rate": 0.01, "until_train_error": 80.0, "window": 100},
    }

    assert expected == Protocol().model_dump()


def test_scaled_protocol() -> None:
    """A scaled protocol is the same schedule, shorter or longer; everything else stays."""
    scaled = Protocol().scaled(0.05)

    assert (3_200, (1_600, 2_400)) == (scaled.iterations, scaled.milestones)
    assert Protocol() == scaled.model_copy(update={"iterations": 64_000, "milestones": (32_000, 48_000)})
    assert Protocol() == Protocol().scaled(1.0)
    assert (128_000, (64_000, 96_000)) == (Protocol().scaled(2).iterations, Protocol().scaled(2).milestones)


def test_tiny_protocol() -> None:
    """A smoke run makes eight updates of 16 images, through both milestones, with the shortest of warm-ups."""
    tiny = Protocol().tiny()

    assert (16, 8, (4, 6), Warmup(window=2)) == (tiny.batch_size, tiny.iterations, tiny.milestones, tiny.warmup)
    assert Protocol(warmup=None).tiny().warmup is None


@pytest.mark.parametrize("milestones", [(5, 4), (4, 6, 5), (0, 4)])
def test_milestones_rise(milestones: tuple[int, ...]) -> None:
    """Milestones that do not rise from 1 on are refused."""
    with pytest.raises(ValidationError, match="milestones"):
        Protocol(milestones=milestones)


@pytest.mark.parametrize(
    ("variant", "is_paper", "label", "slug"),
    [
        (Variant(), True, "paper scale; CIFAR-10; fp32", ""),
        (Variant(precision="bf16"), True, "paper scale; CIFAR-10; bf16", "-bf16"),
        (Variant(schedule=0.05), False, "schedule 0.05 of the paper's; CIFAR-10; fp32", "-schedule-0.05"),
        (
            Variant(split="45k-5k", precision="tf32"),
            False,
            "paper scale; CIFAR-10; trained on 45k, error on the 5k held out of training; tf32",
            "-45k-5k-tf32",
        ),
        (
            Variant(dataset="synthetic"),
            False,
            "paper scale; embedded synthetic set, not CIFAR-10; fp32",
            "-synthetic",
        ),
        (
            Variant(dataset="synthetic", tiny=True),
            False,
            "SMOKE RUN (--tiny), not a result; embedded synthetic set, not CIFAR-10; fp32",
            "-tiny",
        ),
    ],
)
def test_variant(variant: Variant, is_paper: bool, label: str, slug: str) -> None:
    """A variant says in words, and in file names, how it differs from the paper; precision alone is no difference."""
    assert (is_paper, label, slug) == (variant.is_paper, variant.label, variant.slug)


@pytest.mark.parametrize("schedule", [0, -1, 100.5, float("nan"), float("inf")])
def test_schedule_bounds(schedule: float) -> None:
    """A schedule is above 0 and at most 100."""
    with pytest.raises(ValidationError):
        Variant(schedule=schedule)


def test_warmup_is_for_deep_nets() -> None:
    """Nets below 110 layers have no warm-up in their protocol, so its settings are no part of their identity."""
    protocol = Protocol(warmup=Warmup(window=7))

    assert RunSpec.of(net("plain-56"), Variant(), protocol, 0).protocol.warmup is None
    assert Warmup(window=7) == RunSpec.of(net("plain-110"), Variant(), protocol, 0).protocol.warmup
    assert RunSpec.of(net("plain-56"), Variant(), Protocol(), 0) == RunSpec.of(net("plain-56"), Variant(), protocol, 0)


@pytest.mark.parametrize(("variant", "ids"), KNOWN_IDS.values(), ids=KNOWN_IDS.keys())
def test_known_ids(variant: Variant, ids: list[str]) -> None:
    """The ids of Table 6's runs never change."""
    runs = plan(load_experiment("table6"), variant, only=None if variant == Variant() else "resnet-20")

    assert ids == [run.run_id for run in runs]


CHANGES: list[dict[str, Any]] = [
    {"net": net("resnet-32-A")},
    {"net": net("resnet-20-B")},
    {"net": net("plain-20")},
    {"variant": Variant(dataset="synthetic")},
    {"variant": Variant(split="45k-5k")},
    {"variant": Variant(schedule=0.5)},
    {"variant": Variant(tiny=True)},
    {"variant": Variant(precision="bf16")},
    {"protocol": Protocol(batch_size=64, warmup=None)},
    {"protocol": Protocol(learning_rate=0.2, warmup=None)},
    {"protocol": Protocol(milestones=(32_000,), warmup=None)},
    {"protocol": Protocol(iterations=64_001, warmup=None)},
    {"protocol": Protocol(momentum=0.8, warmup=None)},
    {"protocol": Protocol(weight_decay=0, warmup=None)},
    {"protocol": Protocol()},
    {"protocol": Protocol(warmup=Warmup(from_depth=20))},
    {"protocol": Protocol(warmup=Warmup(learning_rate=0.02))},
    {"protocol": Protocol(warmup=Warmup(until_train_error=70))},
    {"protocol": Protocol(warmup=Warmup(window=50))},
]


def test_each_setting_is_part_of_the_identity() -> None:
    """Runs that differ in any one setting have different ids."""
    run = RunSpec(net=net("resnet-20"), variant=Variant(), protocol=Protocol(warmup=None), seed=0)
    hashes = [run.hash8, *(run.model_copy(update=change).hash8 for change in CHANGES)]

    assert len(hashes) == len(set(hashes))
    # The list above names each field there is; a new one must be added to it.
    changed = {(part, field) for change in CHANGES for part, value in change.items() for field in differing(run, value)}
    assert changed == {
        (part, field)
        for part, model in (("net", Net), ("variant", Variant), ("protocol", Protocol), ("warmup", Warmup))
        for field in model.model_fields
    } - {("warmup", field) for field in Warmup.model_fields}


def differing(run: RunSpec, value: Net | Variant | Protocol) -> set[str]:
    """The fields in which a part differs from the run's."""
    before = {Net: run.net, Variant: run.variant, Protocol: run.protocol}[type(value)]
    return {field for field in type(value).model_fields if getattr(before, field) != getattr(value, field)}


def test_seed_is_not_in_the_hash() -> None:
    """Replicates share their hash; the seed is told apart at the end of the id."""
    first, second = (RunSpec.of(net("resnet-20"), Variant(), Protocol(), seed) for seed in (0, 12))

    assert first.hash8 == second.hash8
    assert ("-s0", "-s12") == (first.run_id.removeprefix(f"resnet-20-cifar10-{first.hash8}"), second.run_id[-4:])


def test_later_optional_field_keeps_ids() -> None:
    """A field that a later version adds, None by default, leaves known ids as they are, and counts where it is set."""

    class LaterProtocol(Protocol):
        nesterov: bool | None = None

    class LaterRunSpec(RunSpec):
        protocol: LaterProtocol
        optimizer: str | None = None

    run = RunSpec.of(net("resnet-20"), Variant(), Protocol(), 0)
    later = LaterRunSpec.model_validate_json(run.model_dump_json())

    assert run.run_id == later.run_id
    assert run.run_id != later.model_copy(update={"optimizer": "adam"}).run_id
    assert run.run_id != later.model_copy(update={"protocol": LaterProtocol(warmup=None, nesterov=True)}).run_id


@pytest.mark.parametrize(
    "variant",
    [
        Variant(),
        Variant(schedule=0.05, precision="bf16"),
        Variant(dataset="synthetic", tiny=True),
        Variant(schedule=1e-5),
    ],
)
def test_spec_survives_its_file(variant: Variant) -> None:
    """A run's spec, written as JSON and read again, is the same run, however short its schedule."""
    run = RunSpec.of(net("resnet-110"), variant, Protocol(), 3)

    assert run == RunSpec.model_validate_json(run.model_dump_json())


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
        load_experiment("table7")

    known = ", ".join(experiment_names())
    assert f"unknown experiment 'table7'; there are {known}, or give a .toml file" == str(caught.value)


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

    assert f"{path}: not UTF-8 text: invalid start byte at byte 9" == error_of(path)


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


ROWS = "".join(f'[[rows]]\nlabel = "row {number}"\n' for number in range(3))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("colour = 1\n" + HEAD + RUNS, "colour: Extra inputs are not permitted"),
        (HEAD + RUNS + "sedes = 3\n", "runs.0.sedes: Extra inputs are not permitted"),
        (HEAD, "runs: Field required"),
        (HEAD + "runs = []\n", "runs: Tuple should have at least 1 item after validation, not 0"),
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
        (HEAD + RUNS + '[figure]\ntitle = "F"\npanels = []\n', "figure.panels: Tuple should have at least 1 item"),
        (HEAD + '"two\\nlines" = 1\n' + RUNS, "two lines: Extra inputs are not permitted"),
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
    with pytest.raises(BadInputError, match="--depths: table6 sweeps no depth"):
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
