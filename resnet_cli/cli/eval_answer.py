"""The answer of `resnet eval`: errors with their intervals, the paper's numbers, and the printed lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.cli.answer import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resnet_cli.cli.given import Request
    from resnet_cli.identity import RunSpec, Variant


def data_in_words(variant: Variant, name: str, classes: int) -> str:
    """The name of the data, and a remark if they are not the paper's."""
    title = variant.task.title
    if variant.dataset == variant.task.dataset:
        return title if variant.split == "full" else f"{title}, the 5k held out of training"
    embedded = "embedded synthetic set" if variant.source is None else f"{name}, {classes:,} classes"
    return f"{embedded}, not {title}"


def errors(top1: float, top5: float, images: int) -> dict[str, Any]:
    """Both errors in percent, each with its 95% interval (Wilson) over images drawn like these."""
    from scipy.stats import binomtest

    result: dict[str, Any] = {"images": images}
    for key, error in (("top1", top1), ("top5", top5)):
        interval = binomtest(round(error * images / 100), images).proportion_ci(method="wilson")
        result[f"{key}_error"] = error
        result[f"{key}_interval"] = [100 * interval.low, 100 * interval.high]
    return result


def papers(request: Request) -> dict[str, Any] | None:
    """The paper's numbers for this net and test, and whether ours are comparable; None if the paper gives none."""
    from resnet_cli.experiment import load_experiment

    if request.sides and request.photos and request.sides != request.photos.dense_sides:
        return None
    for table in request.variant.task.tables.get(request.views, ()):
        for row in load_experiment(table).rows:
            if row.net == request.net and row.error is not None:
                return {
                    "table": f"Table {table.removeprefix('table')}",
                    "top1_error": row.error,
                    "top5_error": row.top5,
                    "comparable": request.variant.is_paper and is_papers(request.run),
                }
    return None


def is_papers(run: RunSpec | None) -> bool:
    """Whether a run followed the paper; weights of others are assumed to."""
    from resnet_cli.identity import RunSpec, Variant

    return run is None or run == RunSpec.of(
        run.net,
        Variant(dataset=run.variant.dataset, precision=run.variant.precision),
        run.task.protocol,
        run.seed,
    )


def print_answer(answer: dict[str, Any]) -> None:
    """Prints the answer for people."""
    from rich.console import Console

    console = Console()
    for label, text in _lines(answer):
        say(console, f"{label:<13}{text}", label=13)


def _lines(answer: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if "metrics" in answer:
        yield from _detector_lines(answer)
        return
    if "members" in answer:
        for member in answer["members"]:
            yield "member", f"{member['path']}: top-1 {member['top1_error']:.2f}, top-5 {member['top5_error']:.2f}"
        yield "ensemble", f"of {len(answer['members'])}, probabilities averaged"
    else:
        yield "net", f"{answer['net']}, {answer['parameters']:,} parameters"
        yield "weights", f"{answer['weights']}, matched {answer['matched']}"
        yield "convention", answer["convention"]
        yield "data", answer["data"]
        if "classes" in answer:
            yield "classes", answer["classes"]
        averaged = "; BN statistics averaged" if answer["bn_statistics"] == "averaged" else ""
        yield "test", f"{answer['views']}, {answer['precision']}{averaged}"
    for key, label in (("top1", "top-1 error"), ("top5", "top-5 error")):
        low, high = answer[f"{key}_interval"]
        yield label, f"{answer[f'{key}_error']:.2f}%  (n = {answer['images']:,} images; 95%: {low:.2f} to {high:.2f})"
    if "hint" in answer:
        yield "hint", answer["hint"]
    if "paper" in answer:
        yield "paper", _paper_in_words(answer["paper"], _top_errors)


def _detector_lines(answer: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """The answer about a detector."""
    from resnet_cli.tasks import TASKS

    names = {metric.key: metric.heading.removeprefix("test ") for task in TASKS for metric in task.metrics}

    def numbers(paper: dict[str, Any]) -> str:
        return ", ".join(f"{names[key]} {value:.2f}" for key, value in paper["metrics"].items())

    return [
        ("net", f"{answer['net']}, {answer['parameters']:,} parameters"),
        ("weights", f"{answer['weights']}, matched {answer['matched']}"),
        ("convention", answer["convention"]),
        ("data", answer["data"]),
        ("test", f"{answer['images']:,} images, shorter side {answer['shorter_side']}, {answer['precision']}"),
        *(
            (names[key], "no object to find" if value is None else f"{value:.2f}%")
            for key, value in answer["metrics"].items()
        ),
        ("paper", _paper_in_words(answer["paper"], numbers)),
    ]


def _paper_in_words(paper: dict[str, Any] | None, numbers: Callable[[dict[str, Any]], str]) -> str:
    if paper is None:
        return "no number for this net and test"
    mark = "" if paper["comparable"] else "; NOT COMPARABLE: other data, or trained differently"
    return f"{numbers(paper)} ({paper['table']}){mark}"


def _top_errors(paper: dict[str, Any]) -> str:
    top5 = "" if paper["top5_error"] is None else f", top-5 {paper['top5_error']:.2f}"
    return f"top-1 {paper['top1_error']:.2f}{top5}"
