"""Settings that cannot be, told where they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

import sley
from sley import nn
from sley.nn import functional as F


def test_probabilities_are_within_their_bounds() -> None:
    for wrong in (2.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"outside of \[0, 1\]"):
            F.binary_cross_entropy(sley.tensor([0.5, wrong]), sley.ones(2))


def test_the_padding_of_a_convolution_is_known_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="padding='smae' is neither"):
        nn.Conv2d(2, 2, 3, padding="smae")
    with pytest.raises(ValueError, match="needs stride 1"):
        nn.Conv1d(2, 2, 3, stride=2, padding="same")
    assert nn.Conv2d(2, 2, 3, stride=2, padding="valid")(sley.ones(1, 2, 5, 5)).shape[-1] == 2


def test_a_group_without_parameters() -> None:
    weight = sley.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"no 'params', only \['parms'\]"):
        sley.optim.Adam([{"params": [weight]}, {"parms": [weight]}])


def test_a_name_that_a_module_has_not() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert module.get_parameter("0.weight") is module[0].weight
    assert module.get_buffer("1.running_mean").shape == (2,)
    with pytest.raises(AttributeError, match="Linear has no parameter 'weigth'"):
        module.get_parameter("0.weigth")
    with pytest.raises(AttributeError, match="BatchNorm1d has no buffer 'weight'"):
        module.get_buffer("1.weight")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder to write into.*missing'"):
        sley.save({"a": sley.ones(1)}, tmp_path / "missing" / "weights.pt")
