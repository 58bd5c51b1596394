"""`resnet eval`: tests given weights, ours or others', and ensembles of saved scores."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from resnet_cli.cli import options
from resnet_cli.cli.answer import check_writable, write_file
from resnet_cli.errors import BadInputError
from resnet_cli.names import ConventionName, GivenDataset, Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

    from resnet_cli.cli.given import Question
    from resnet_cli.data.dataset import Constants
    from resnet_cli.evaluate.evaluate import Evaluation
    from resnet_cli.identity import RunSpec, Variant


def evaluate_weights(
    name: Annotated[str | None, typer.Argument(metavar="NET", help="plain-20, resnet-56, resnet-34-B ...")] = None,
    *,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="A file (safetensors, or torch.save's), a run's folder, or torchvision."),
    ] = None,
    ensemble: Annotated[
        list[Path] | None,
        typer.Option("--ensemble", help="In place of NET: a file of scores, or a run's folder; two or more times."),
    ] = None,
    dataset: Annotated[
        GivenDataset | None,
        typer.Option("--dataset", help="What to test on (default: the run's, or the one that has nets of this depth)."),
    ] = None,
    dataset_root: options.DatasetRoot = None,
    convention: Annotated[
        ConventionName | None,
        typer.Option("--convention", help="What the weights assume of net and pixels (default: paper)."),
    ] = None,
    crops: Annotated[
        Literal["1", "10"] | None, typer.Option("--crops", help="Views of each photograph (default: 1).")
    ] = None,
    scales: Annotated[
        str | None, typer.Option("--scales", help="Test fully convolutionally at these sides: 224,256,384,480,640.")
    ] = None,
    data_dir: options.DataDir = None,
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], typer.Option("--device", help="Where to test.")] = "auto",
    precision: Annotated[
        Precision | None, typer.Option("--precision", help="Arithmetic of the test (default: the run's, else fp32).")
    ] = None,
    workers: options.Workers = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the scores to this npz, for ensembles.")
    ] = None,
    form: Annotated[Literal["rich", "json"], typer.Option("--format", help="How to write it.")] = "rich",
) -> None:
    """Test weights, ours or others', or an ensemble of saved scores, and print top-1 and top-5 error."""
    from resnet_cli.cli.given import ask

    if output:
        check_writable(output)  # before a test that may take hours
    if ensemble:
        if name is not None or weights is not None:
            raise BadInputError("--ensemble: tests saved scores; leave out NET and --weights")
        answer, content = _ensemble(ensemble)
    elif name is None or weights is None:
        raise BadInputError("give a net and its --weights, or two --ensemble files; 'resnet eval --help' shows how")
    else:
        question = ask(name, weights, dataset, dataset_root, convention, crops, scales, precision)
        answer, content = _test(
            question, options.data_folder(data_dir), dataset_root, device, options.worker_count(workers)
        )
    if form == "json":
        import json

        typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))
    else:
        _print(answer)
    if output:
        typer.echo(write_file(output, content), err=True)


def _test(
    question: Question, data_dir: Path, dataset_root: Path | None, device: str, workers: int
) -> tuple[dict[str, Any], bytes]:
    """Tests a net; returns what to print, and the content of a file of its scores."""
    from rich.console import Console

    from resnet_cli.cli.given import TORCHVISION
    from resnet_cli.device.torch_device import choose_device, prepare
    from resnet_cli.evaluate.evaluate import evaluate
    from resnet_cli.tasks import open_dataset
    from resnet_cli.tasks.classification import Classification
    from resnet_cli.weights.convention import find_convention
    from resnet_cli.weights.read import match, read_weights, torchvision_weights
    from resnet_cli.weights.trained import scores_content

    progress = Console(stderr=True)
    net, variant, task = question.net, question.variant, question.variant.task
    assert isinstance(task, Classification)
    convention = find_convention(question.convention, task)
    if question.run and question.run.variant.stride_3x3:
        convention = dataclasses.replace(convention, stride_3x3=True)
    chosen = choose_device(device)
    prepare(chosen, variant.precision)
    theirs = question.weights == TORCHVISION
    state = torchvision_weights(net) if theirs else read_weights(Path(question.weights))
    data = open_dataset(
        variant,
        data_dir,
        protocol=task.protocol.model_copy(update={"photos": question.photos}),
        dataset_root=dataset_root,
        workers=workers,
        report=lambda line: progress.print(line, markup=False, highlight=False, soft_wrap=True),
    )
    classes = len(data.classes)
    built = task.make(net, 0, classes, stride_3x3=convention.stride_3x3, zeros=convention.zeros)
    matched = match(state, built, question.weights)
    data = _prepared(data, convention.constants, question.sides).to(chosen)
    evaluation = _with_progress(
        lambda done: evaluate(built.to(chosen), data, variant.precision, question.views, progress=done),
        len(data.test_labels) * _views_of_each(question),
        progress,
    )
    labels = data.test_labels.cpu().numpy()
    content, _ = scores_content(evaluation.logits.log_softmax(dim=1), labels)
    answer = {
        "net": task.short_name(net),
        "parameters": sum(parameter.numel() for parameter in built.parameters()),
        "weights": question.weights,
        "matched": matched,
        "convention": f"{question.convention} ({convention.meaning(task)})",
        "data": _data_in_words(variant, data.name),
        "precision": variant.precision,
        "views": question.views + (f" at {', '.join(map(str, question.sides))}" if question.sides else ""),
        **_errors(evaluation.top1_error, evaluation.top5_error, evaluation.images),
        "paper": _papers(question),
    }
    return answer, content


def _prepared(data: Any, constants: Constants | None, sides: tuple[int, ...] | None) -> Any:
    """The dataset with the pixels that the weights assume, and the sides of the dense test."""
    from resnet_cli.data import PhotoDataset

    if constants:
        data = dataclasses.replace(data, constants=constants)
    if sides and isinstance(data, PhotoDataset):
        data = dataclasses.replace(data, sides=sides)
    return data


def _views_of_each(question: Question) -> int:
    """Inputs made of each image; the dense test takes its mirror too."""
    return {"1-crop": 1, "10-crop": 10, "dense": 2 * len(question.sides or ())}[question.views]


def _with_progress(test: Callable[[Callable[[int], None]], Evaluation], total: int, console: Console) -> Evaluation:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("testing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("testing", total=total)
        return test(lambda done: progress.update(task, completed=done))


def _data_in_words(variant: Variant, name: str) -> str:
    title = variant.task.title
    if variant.dataset == variant.task.dataset:
        return title if variant.split == "full" else f"{title}, the 5k held out of training"
    embedded = "embedded synthetic set" if variant.source is None else name
    return f"{embedded}, not {title}"


def _errors(top1: float, top5: float, images: int) -> dict[str, Any]:
    """Both errors in percent, each with its 95% interval (Wilson) over images drawn like these."""
    from scipy.stats import binomtest

    result: dict[str, Any] = {"images": images}
    for key, error in (("top1", top1), ("top5", top5)):
        interval = binomtest(round(error * images / 100), images).proportion_ci(method="wilson")
        result[f"{key}_error"] = error
        result[f"{key}_interval"] = [100 * interval.low, 100 * interval.high]
    return result


def _papers(question: Question) -> dict[str, Any] | None:
    """The paper's numbers for this net and test, and whether ours may stand beside them; None if it gives none."""
    from resnet_cli.experiment import load_experiment

    if question.sides and question.photos and question.sides != question.photos.dense_sides:
        return None
    for table in question.variant.task.tables.get(question.views, ()):
        for row in load_experiment(table).rows:
            if row.net == question.net and row.error is not None:
                return {
                    "table": f"Table {table.removeprefix('table')}",
                    "top1_error": row.error,
                    "top5_error": row.top5,
                    "comparable": question.variant.is_paper and _is_papers(question.run),
                }
    return None


def _is_papers(run: RunSpec | None) -> bool:
    """Whether a run followed the paper; others' weights do for all that we know."""
    from resnet_cli.identity import RunSpec, Variant

    return run is None or run == RunSpec.of(
        run.net,
        Variant(dataset=run.variant.dataset, precision=run.variant.precision),
        run.variant.task.protocol,
        run.seed,
    )


def _ensemble(paths: Sequence[Path]) -> tuple[dict[str, Any], bytes]:
    """Averages saved scores; returns what to print, and the content of a file of the averaged scores."""
    import torch

    from resnet_cli.evaluate.scores import average, top_errors
    from resnet_cli.storage import run_folder
    from resnet_cli.weights.trained import scores_content

    if len(paths) < 2:  # noqa: PLR2004
        raise BadInputError(f"--ensemble {paths[0]}: one alone is no ensemble; give two or more")
    members = [(file, *run_folder.read_scores(file)) for file in map(_scores_file, paths)]
    first, first_scores, labels = members[0]
    for path, scores, its in members[1:]:
        if scores.shape != first_scores.shape:
            here, there = (f"{len(each):,} images of {each.shape[1]:,} classes" for each in (scores, first_scores))
            raise BadInputError(f"{path}: scores of {here}, {first} of {there}; test both on the same images")
        if (its != labels).any():
            raise BadInputError(f"{path}: its images are not those of {first}, or in another order: the labels differ")
    together = average([scores for _, scores, _ in members])
    answer = {
        "members": [
            {"path": str(path), **_errors(*top_errors(scores, labels), len(labels))} for path, scores, _ in members
        ],
        **_errors(*top_errors(together, labels), len(labels)),
    }
    return answer, scores_content(torch.from_numpy(together), labels)[0]


def _scores_file(path: Path) -> Path:
    """A file of scores, itself or in a run's folder: of its dense test, else of its 10-crop test."""
    from resnet_cli.storage import run_folder

    options.reachable(path)
    if not path.is_dir():
        return path
    names = [run_folder.scores_file(views) for views in ("dense", "10-crop")]
    for name in names:
        if (path / name).is_file():
            return path / name
    raise BadInputError(
        f"{path}: has neither {' nor '.join(names)}; 'resnet eval NET --weights {path} --output FILE' makes one"
    )


def _print(answer: dict[str, Any]) -> None:
    """Writes it for people."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for label, text in _lines(answer):
        console.print(Text.assemble((f"{label:<13}", "dim"), text), soft_wrap=True)


def _lines(answer: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if "members" in answer:
        for member in answer["members"]:
            yield "member", f"{member['path']}: top-1 {member['top1_error']:.2f}, top-5 {member['top5_error']:.2f}"
        yield "ensemble", f"of {len(answer['members'])}, probabilities averaged"
    else:
        yield "net", f"{answer['net']}, {answer['parameters']:,} parameters"
        yield "weights", f"{answer['weights']}, matched {answer['matched']}"
        yield "convention", answer["convention"]
        yield "data", answer["data"]
        yield "test", f"{answer['views']}, {answer['precision']}"
    for key, label in (("top1", "top-1 error"), ("top5", "top-5 error")):
        low, high = answer[f"{key}_interval"]
        yield label, f"{answer[f'{key}_error']:.2f}%  (n = {answer['images']:,} images; 95%: {low:.2f} to {high:.2f})"
    if "paper" in answer:
        yield "paper", _paper_in_words(answer["paper"])


def _paper_in_words(paper: dict[str, Any] | None) -> str:
    if paper is None:
        return "no number for this net and test"
    top5 = "" if paper["top5_error"] is None else f", top-5 {paper['top5_error']:.2f}"
    mark = "" if paper["comparable"] else "; NOT COMPARABLE: other data, or trained otherwise"
    return f"top-1 {paper['top1_error']:.2f}{top5} ({paper['table']}){mark}"
