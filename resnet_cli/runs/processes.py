"""Functions that are called in fresh processes, and what they return."""

from __future__ import annotations

import contextlib
import multiprocessing
from typing import TYPE_CHECKING, TypeVar

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

T = TypeVar("T")


def in_processes(
    function: Callable[..., T], arguments: Sequence[tuple[object, ...]], name: str, advice: str
) -> list[T]:
    """The results of a function for each of these arguments, each call in its own fresh process, all at once.

    Args:
        function: A function of a module.
        arguments: The arguments of each call.
        name: What messages call a process that dies.
        advice: What the user can do if one dies.

    Raises:
        BadInputError: The function raised it, or a process died, for example for lack of memory.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for each in arguments:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_call, args=(function, each, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        answers = []
        for pipe, process in zip(pipes, processes, strict=True):
            try:
                answer = pipe.recv()
            except EOFError:
                process.join()
                code = process.exitcode
                raise BadInputError(
                    f"{name} ended with exit code {code} (-9 often means out of memory); {advice}"
                ) from None
            if isinstance(answer, BadInputError):
                raise answer
            answers.append(answer)
        return answers
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _call(function: Callable[..., object], arguments: tuple[object, ...], pipe: Connection) -> None:
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):  # the launcher was stopped
        try:
            pipe.send(function(*arguments))
        except BadInputError as error:
            pipe.send(error)
