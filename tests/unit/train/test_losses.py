"""Losses against torch's own modules, closed forms and scikit-learn's weights."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from tailorbird.config import Config
from tailorbird.config.losses import check_loss
from tailorbird.config.schema import TrainConfig
from tailorbird.errors import UserError
from tailorbird.records import TASKS, Target, TaskName
from tailorbird.train.head_losses import cross_entropy_sum, make_loss, mean_loss

CLASSES = Target("classification", ("a", "b", "c"))
LABELS = Target("multilabel", ("a", "b", "c"))
VALUES = Target("regression", ("x", "y", "z"))
IDS = np.asarray([0, 0, 0, 1, 2, 2])
GIVEN = np.asarray([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]], dtype=np.float32)


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(3)) * 2


def made(name: str, target: Target, learnt: np.ndarray, **asked: object) -> Any:
    return make_loss(name, TrainConfig.model_validate(asked), target, learnt)


def test_plain_cross_entropy_stays_what_it_was(logits: torch.Tensor) -> None:
    assert made("cross_entropy", CLASSES, IDS) is cross_entropy_sum
    expected = nn.CrossEntropyLoss(reduction="sum")(logits, torch.from_numpy(IDS))
    assert cross_entropy_sum(logits, torch.from_numpy(IDS)).item() == pytest.approx(expected.item())


def test_weights_and_smoothing_are_torchs(logits: torch.Tensor) -> None:
    ids = torch.from_numpy(IDS)
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=IDS)
    ours = made("cross_entropy", CLASSES, IDS, class_weights="balanced", label_smoothing=0.1)
    theirs = nn.CrossEntropyLoss(
        weight=torch.from_numpy(balanced).float(), label_smoothing=0.1, reduction="sum"
    )
    assert ours(logits, ids).item() == pytest.approx(theirs(logits, ids).item())
    named = made("cross_entropy", CLASSES, IDS, class_weights={"b": 3.0})
    theirs = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0, 1.0]), reduction="sum")
    assert named(logits, ids).item() == pytest.approx(theirs(logits, ids).item())


def test_focal_is_its_formula(logits: torch.Tensor) -> None:
    ids = torch.from_numpy(IDS)
    p = logits.softmax(-1)[torch.arange(6), ids]
    for gamma in (0.0, 1.5):
        ours = made("focal", CLASSES, IDS, focal_gamma=gamma)(logits, ids)
        assert ours.item() == pytest.approx((-((1 - p) ** gamma) * p.log()).sum().item(), rel=1e-5)


def test_bce_is_torchs(logits: torch.Tensor) -> None:
    given = torch.from_numpy(GIVEN)
    ours = made("bce", LABELS, GIVEN)(logits[:4], given)
    theirs = nn.BCEWithLogitsLoss(reduction="none")(logits[:4], given).mean(1).sum()
    assert ours.item() == pytest.approx(theirs.item())
    weighted = made("bce", LABELS, GIVEN, positive_weights="balanced")
    theirs = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1 / 3, 3.0, 3.0]), reduction="none")
    expected = theirs(logits[:4], given).mean(1).sum().item()
    assert weighted(logits[:4], given).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("mse", nn.MSELoss),
        ("mae", nn.L1Loss),
        ("huber", lambda reduction: nn.HuberLoss(reduction, 0.5)),
    ],
)
def test_distances_are_torchs(name: str, theirs: Any, logits: torch.Tensor) -> None:
    values = torch.linspace(-2, 2, 18).reshape(6, 3)
    loss = made(name, VALUES, values.numpy(), huber_delta=0.5)
    expected = theirs(reduction="mean")(logits, values).item() * 6
    assert loss(logits, values).item() == pytest.approx(expected)
    assert mean_loss(loss, logits.numpy(), values.numpy()) == pytest.approx(expected / 6)


def config(**train: object) -> Config:
    return Config(train=TrainConfig.model_validate(train))


@pytest.mark.parametrize("task", [name for name, spec in TASKS.items() if spec.head])
def test_every_pairing_fits_or_says_why(task: TaskName) -> None:
    for name in ("cross_entropy", "focal", "bce", "mse", "mae", "huber"):
        if name in TASKS[task].losses:
            check_loss(config(loss=name), task, ("a",))
            continue
        why = rf"train.loss={name} does not fit {task}: \w+ .{{20,}}"
        with pytest.raises(UserError, match=why):
            check_loss(config(loss=name), task, ("a",))
    check_loss(config(), task, ("a",))


@pytest.mark.parametrize(
    ("asked", "task", "told"),
    [
        ({"class_weights": "balanced"}, "multilabel", "class_weights is for classification"),
        ({"positive_weights": "balanced"}, "regression", "positive_weights is for multilabel"),
        ({"loss": "focal", "label_smoothing": 0.1}, "classification", "is for cross_entropy"),
        ({"class_weights": {"spamm": 2}}, "classification", "did you mean 'spam'"),
        ({"class_weights": {"spam": -2}}, "classification", "weight -2"),
        ({"loss": "mse"}, "generation", "cross-entropy of their tokens"),
        ({"focal_gamma": 3.0}, "classification", "focal_gamma is for focal"),
        ({"loss": "mae", "huber_delta": 2.0}, "regression", "huber_delta is for huber"),
    ],
)
def test_options_that_do_not_fit_are_told(
    asked: dict[str, object], task: TaskName, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        check_loss(config(**asked), task, ("ham", "spam"))


def test_a_search_over_losses_takes_the_options_of_any_of_them() -> None:
    def searched(*losses: str, **more: object) -> Config:
        search = {"trials": 3, "space": {"train.loss": list(losses)}}
        return Config.model_validate({"train": more, "search": search})

    labels = ("ham", "spam")
    check_loss(searched("cross_entropy", "focal", focal_gamma=3.0), "classification", labels)
    check_loss(searched("focal", label_smoothing=0.1), "classification", labels)
    with pytest.raises(UserError, match="focal_gamma is for focal"):
        check_loss(searched("auto", focal_gamma=3.0), "classification", labels)
    with pytest.raises(UserError, match="train.loss=mse does not fit classification"):
        check_loss(searched("focal", "mse"), "classification", labels)
    # The first trial is as asked; without trials the space is not looked at.
    with pytest.raises(UserError, match="train.loss=mse does not fit classification"):
        check_loss(searched("focal", loss="mse"), "classification", labels)
    asked = {"train": {"loss": "focal"}, "search": {"space": {"train.loss": ["mse"]}}}
    check_loss(Config.model_validate(asked), "classification", labels)
    with pytest.raises(UserError, match="cross-entropy of their tokens"):
        check_loss(searched("focal", "mse"), "generation", ())
