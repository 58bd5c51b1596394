from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from resnet_cli.errors import BadInputError
from resnet_cli.identity import Variant
from resnet_cli.storage.choices import CHOICES, Choice, keep_choice, kept_choice

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.storage.store import Store


def choice(schedule: float = 0.1, **changes: Any) -> Choice:
    """A schedule that was chosen for 20 minutes."""
    asked = {"experiment": "table6", "depths": (), "only": None, "seeds": None, "minutes": 20.0}
    machine = {"device": "cpu", "device_name": "a CPU", "variant": Variant(schedule=schedule)}
    return Choice.model_validate({**asked, **machine, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"experiment": "fig1"},
        {"depths": (8, 14)},
        {"only": "*-20"},
        {"seeds": 1},
        {"minutes": 21.0},
        {"device": "cuda"},
        {"device_name": "another CPU"},
        {"variant": Variant(precision="bf16")},
        {"variant": Variant(dataset="synthetic")},
        {"variant": Variant(split="45k-5k")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_kept_choice_answers_its_own_question_only(store: Store, changes: dict[str, Any]) -> None:
    """Whatever else is asked for, or on another machine, it is not known; keeping one loses no other."""
    keep_choice(store.root, choice())
    unknown = kept_choice(store.root, choice(1.0, **changes))
    keep_choice(store.root, choice(**changes))

    assert unknown is None
    assert choice() == kept_choice(store.root, choice(1.0))


def test_a_later_choice_takes_the_place_of_an_earlier(store: Store) -> None:
    """There is one for each question."""
    keep_choice(store.root, choice(0.1))
    keep_choice(store.root, choice(0.2))

    assert choice(0.2) == kept_choice(store.root, choice(1.0))
    assert 1 == (store.root / CHOICES).read_text().count("table6")


def test_no_choice_yet(store: Store) -> None:
    """Where there is no file, nothing was chosen; looking writes nothing."""
    assert kept_choice(store.root, choice()) is None
    assert not store.root.exists()


@pytest.mark.parametrize("content", ["", "{}", '{"choices": [{"experiment": "table6"}]}', '{"choices": 3}', "\0\xff"])
def test_a_damaged_file_of_choices_is_an_error_and_written_anew(store: Store, content: str) -> None:
    """The line names the file."""
    store.root.mkdir()
    (store.root / CHOICES).write_text(content, encoding="latin-1")
    with pytest.raises(BadInputError, match=r"minutes\.json: damaged: "):
        kept_choice(store.root, choice())
    keep_choice(store.root, choice())

    assert choice() == kept_choice(store.root, choice())


def test_a_choice_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    """The line names the file."""
    (tmp_path / "results").write_text("a file")
    with pytest.raises(BadInputError, match=r"minutes\.json: cannot be written"):
        keep_choice(tmp_path / "results", choice())
