from __future__ import annotations

from typing import Any

import pytest
from paper_tasks import CIFAR10, IMAGENET
from pydantic import ValidationError

from resnet_cli.experiment import load_experiment
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.report.commands import flags
from resnet_cli.runs.plan import plan
from resnet_cli.spec import Detector, Net, Photos, Plateau, Protocol, Warmup
from resnet_cli.tasks import TASKS

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
     "resnet--20", "resnet-20.0", "resnet-100000", "resnet-{depth}", "plain-56-from", "plain-56-x",
     "plain-56-from-20-x3"],
)  # fmt: skip
def test_not_a_net(name: str) -> None:
    """What is not a net's name is refused, with examples of names."""
    with pytest.raises(ValidationError, match=r"is not a net; write plain-20, resnet-20, resnet-20-B"):
        net(name)


@pytest.mark.parametrize("name", ["resnet-20-single", "resnet-20-B-single", "plain-56-from-20", "plain-56-x3"])
def test_nets_of_the_arguments(name: str) -> None:
    """The three kinds of net that only the paper's arguments need keep their names, and are of CIFAR-10 only."""
    assert name == net(name).name
    assert name.replace("resnet-20-single", "resnet-20-A-single") == net(name).full_name
    with pytest.raises(ValueError, match="a variant of CIFAR-10's nets only"):
        IMAGENET.check(net(name.replace("-20", "-34").replace("-56", "-34").replace("from-34", "from-18")))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plain-20-single", "has no shortcut that could span a single layer"),
        ("resnet-56-from-20", "is made from a shallower plain net"),
        ("plain-20-from-20", "is made from a shallower plain net"),
        ("plain-20-x1", "greater than or equal to 2"),
    ],
)
def test_no_such_argument(name: str, message: str) -> None:
    """A combination that means nothing is refused."""
    with pytest.raises(ValidationError, match=message):
        net(name)


def test_the_source_has_a_depth_too() -> None:
    """The net that another is made from must be one of section 4.2's."""
    with pytest.raises(ValueError, match=r"plain-20-from-9: depth 9 is not 6n\+2"):
        CIFAR10.check(net("plain-20-from-9"))


@pytest.mark.parametrize(("depth", "n"), [(8, 1), (20, 3), (32, 5), (44, 7), (56, 9), (110, 18), (1202, 200)])
def test_blocks(depth: int, n: int) -> None:
    """A CIFAR-10 net of 6n+2 layers has n blocks at each feature-map size (section 4.2)."""
    assert n == CIFAR10.layout(net(f"plain-{depth}")).blocks[0]


@pytest.mark.parametrize("depth", [1, 2, 7, 9, 18, 21, 34, 101, 1000])
def test_other_depths(depth: int) -> None:
    """A depth that is not 6n+2 is refused, and the message names depths that are."""
    with pytest.raises(ValueError, match=rf"depth {depth} is not 6n\+2 \(8, 14, 20, 26, 32, 38, 44, ...\)"):
        CIFAR10.check(net(f"resnet-{depth}"))
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
        "plateau": None,
        "photos": None,
        "bias_rate": None,
        "detector": None,
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
    {"net": net("resnet-20-single")},
    {"net": net("plain-20-from-8")},
    {"net": net("plain-20-x3")},
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
    {"protocol": Protocol(plateau=Plateau(), warmup=None)},
    {"protocol": Protocol(photos=Photos(), warmup=None)},
    {"variant": Variant(accumulate=2)},
    {"variant": Variant(dataset="folder", source="flowers-01234567")},
    {"variant": Variant(dataset="imagenet", deviations=("channel-mean",))},
    {"variant": Variant(dataset="voc07", weights="torchvision-01234567")},
    {"protocol": Protocol(bias_rate=2, warmup=None)},
    {"protocol": Protocol(detector=Detector(), warmup=None)},
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


def test_three_times_the_updates() -> None:
    """`x3` trains three times as long, milestones too, at any scale; nothing else of the protocol differs."""
    once, thrice = (RunSpec.of(net(name), Variant(schedule=0.1), Protocol(), 0) for name in ("plain-20", "plain-20-x3"))

    assert (19_200, (9_600, 14_400)) == (thrice.protocol.iterations, thrice.protocol.milestones)
    assert once.protocol == thrice.protocol.model_copy(update={"iterations": 6_400, "milestones": (3_200, 4_800)})
    assert (
        RunSpec.of(net("plain-20-x3"), Variant(dataset="synthetic", tiny=True), Protocol(), 0).protocol.iterations == 24
    )


@pytest.mark.parametrize(("name", "source"), [("plain-20-from-8", "plain-8"), ("plain-116-from-110", "plain-110")])
def test_source_is_the_run_that_the_plan_makes_of_it(name: str, source: str) -> None:
    """The net that a run starts from is that of the same seed, trained by the same protocol; a warm-up is by depth."""
    run, other = (RunSpec.of(net(each), Variant(schedule=0.5), Protocol(), 3) for each in (name, source))

    assert other == run.source
    assert other.source is None


def test_source_without_the_warmup_of_the_deeper_net() -> None:
    """Plain-110 warms up, the plain-20 that it may be made from does not."""
    run = RunSpec.of(net("plain-110-from-20"), Variant(), Protocol(), 0)

    assert run.protocol.warmup is not None
    assert RunSpec.of(net("plain-20"), Variant(), Protocol(), 0) == run.source


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


ON_IMAGENET = Variant(dataset="imagenet")
KNOWN_IMAGENET_IDS = [
    "plain-18-imagenet-0ddbdcc9-s0",
    "resnet-34-imagenet-2d2fc1ec-s0",
    "resnet-50-B-imagenet-682f0165-s0",
]


def imagenet_run(name: str, variant: Variant = ON_IMAGENET) -> RunSpec:
    """A run by section 3.4."""
    return RunSpec.of(IMAGENET.net(name), variant, IMAGENET.protocol, 0)


def test_imagenets_protocol_is_section_3_4() -> None:
    """Batch 256, 60e4 updates, lr 0.1 divided by 10 at plateaus, no warm-up; shorter side 256 to 480, crop of 224."""
    protocol = IMAGENET.protocol
    photos = protocol.photos

    assert (256, 600_000, 0.1, 0.9, 1e-4, (), None) == (
        protocol.batch_size,
        protocol.iterations,
        protocol.learning_rate,
        protocol.momentum,
        protocol.weight_decay,
        protocol.milestones,
        protocol.warmup,
    )
    assert protocol.plateau
    assert photos
    assert (224, (256, 480), "scale", "pixel") == (photos.crop, photos.shorter_side, photos.cropping, photos.mean)
    assert (256, (224, 256, 384, 480, 640)) == (photos.test_side, photos.dense_sides)


def test_imagenet_protocol_scaled_and_tiny() -> None:
    """A shorter schedule has shorter windows to see a plateau in, to a limit; a smoke run is short in everything."""
    scaled, tiny = (
        imagenet_run("resnet-18", Variant(dataset="imagenet", schedule=0.1)).protocol,
        IMAGENET.protocol.tiny(),
    )

    assert scaled.plateau
    assert (60_000, 1_000) == (scaled.iterations, scaled.plateau.window)
    assert tiny.photos
    assert tiny.plateau
    assert (8, 16, 32, (36, 68), 2) == (
        tiny.iterations,
        tiny.batch_size,
        tiny.photos.crop,
        tiny.photos.shorter_side,
        tiny.plateau.window,
    )
    assert (37, (32, 37, 55, 69, 91)) == (tiny.photos.test_side, tiny.photos.dense_sides)


@pytest.mark.parametrize(
    ("name", "full_name", "short_name"),
    [
        ("resnet-34", "resnet-34-A", "resnet-34"),
        ("resnet-34-B", "resnet-34-B", "resnet-34-B"),
        ("resnet-50", "resnet-50-B", "resnet-50"),
        ("resnet-152", "resnet-152-B", "resnet-152"),
        ("resnet-50-A", "resnet-50-A", "resnet-50-A"),
        ("plain-34", "plain-34", "plain-34"),
    ],
)
def test_bare_names_on_imagenet(name: str, full_name: str, short_name: str) -> None:
    """On ImageNet a bare ResNet-50 and deeper has option B, the paper's; on CIFAR-10 option A, whatever the depth."""
    found = IMAGENET.net(name)

    assert full_name == found.full_name
    assert short_name == IMAGENET.short_name(found)
    assert "resnet-50-A" == CIFAR10.net("resnet-50").full_name


@pytest.mark.parametrize("name", ["resnet-20", "plain-56", "resnet-110"])
def test_depths_that_imagenet_does_not_have(name: str) -> None:
    """A depth that Table 1 does not have is refused with those it has."""
    with pytest.raises(ValueError, match=r"ImageNet's nets have 18, 34, 50, 101, 152 layers"):
        IMAGENET.net(name)


@pytest.mark.parametrize(
    ("deviation", "path", "value"),
    [
        ("channel-mean", "photos.mean", "channel"),
        ("random-resized-crop", "photos.cropping", "random-resized"),
        ("fixed-steps", "milestones", (150_000, 300_000, 450_000)),
        ("fixed-steps", "plateau", None),
    ],
)
def test_deviations(deviation: Any, path: str, value: object) -> None:
    """A named deviation changes what it names, is said on everything made of it, and makes it another run."""
    variant = Variant(dataset="imagenet", deviations=(deviation,))
    found: Any = imagenet_run("resnet-18", variant).protocol
    for part in path.split("."):
        found = getattr(found, part)

    assert value == found
    assert not variant.is_paper
    assert f"paper scale; ImageNet; {deviation}; fp32" == variant.label
    assert f"-{deviation}" == variant.slug
    assert ["--deviation", deviation] == flags(variant, "imagenet")
    assert imagenet_run("resnet-18").hash8 != imagenet_run("resnet-18", variant).hash8


@pytest.mark.parametrize("paper", [task.protocol for task in TASKS], ids=[task.name for task in TASKS])
def test_the_papers_protocols_are_valid(paper: Protocol) -> None:
    """They are constructed without being validated; validated, they are the same."""
    validated = Protocol.model_validate(paper.model_dump())

    assert validated == paper
    assert validated.model_dump_json() == paper.model_dump_json()
    assert Protocol() == CIFAR10.protocol


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"dataset": "folder"}, "source names a folder"),
        ({"dataset": "imagenet", "source": "flowers"}, "source names a folder"),
        ({"dataset": "folder", "source": "../flowers"}, "should match pattern"),
        ({"dataset": "folder", "source": ""}, "should match pattern"),
        ({"dataset": "folder", "source": 81 * "f"}, "at most 80 characters"),
        ({"deviations": ("channel-mean",)}, "a deviation from ImageNet's protocol, not from CIFAR-10's"),
        ({"dataset": "imagenet", "deviations": ("stride-3x3", "channel-mean")}, "sorted"),
        ({"dataset": "imagenet", "split": "45k-5k"}, "a split of CIFAR-10's training set"),
        ({"accumulate": 1}, "greater than or equal to 2"),
    ],
)
def test_variants_that_cannot_be(fields: dict[str, Any], problem: str) -> None:
    """What contradicts itself is refused."""
    with pytest.raises(ValidationError, match=problem):
        Variant(**fields)


def test_variants_of_imagenet() -> None:
    """ImageNet's own is the paper's; a folder of classes and the embedded set say that they are not ImageNet."""
    folder = Variant(dataset="folder", source="flowers-01234567", accumulate=4)

    assert ON_IMAGENET.is_paper
    assert "paper scale; ImageNet; fp32" == ON_IMAGENET.label
    assert "" == ON_IMAGENET.slug
    assert "paper scale; flowers-01234567, not ImageNet; batch in 4 parts; fp32" == folder.label
    assert "-flowers-01234567-accumulate-4" == folder.slug
    assert ["--dataset-root", "DIR", "--accumulate", "4"] == flags(folder, "imagenet")
    assert not folder.is_paper
    assert "not ImageNet" in Variant(dataset="synthetic-photos", tiny=True).label


def test_parts_must_divide_the_batch() -> None:
    """A batch of 256 is not taken in three parts."""
    with pytest.raises(ValidationError, match="accumulate 3: does not divide the batch of 256"):
        imagenet_run("resnet-18", Variant(dataset="imagenet", accumulate=3))


@pytest.mark.parametrize(("crop", "shorter_side"), [(224, (200, 480)), (224, (480, 256)), (16, (16, 20))])
def test_photos_that_cannot_be(crop: int, shorter_side: tuple[int, int]) -> None:
    """A crop larger than the image, a range that falls, and an input too small for the net are refused."""
    with pytest.raises(ValidationError, match=r"shorter_side|crop"):
        Photos(crop=crop, shorter_side=shorter_side)


def test_known_ids_on_imagenet() -> None:
    """The ids of Table 2's runs never change."""
    assert KNOWN_IMAGENET_IDS == [imagenet_run(name).run_id for name in ("plain-18", "resnet-34", "resnet-50")]
