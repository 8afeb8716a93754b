"""State dicts of modules: hooks, extra state, taking over memory."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import sley
from sley import nn


class Counting(nn.Module):
    """Keeps a number that is neither parameter nor buffer."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.layer = nn.Linear(2, 2)

    def get_extra_state(self) -> dict[str, int]:
        return {"count": self.count}

    def set_extra_state(self, state: dict[str, int]) -> None:
        if state["count"] < 0:
            raise ValueError("a negative count")
        self.count = state["count"]


def filled(module: nn.Module, value: float) -> nn.Module:
    with sley.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    return module


def values(module: nn.Module) -> list[float]:
    return sorted({v for p in module.parameters() for v in p.flatten().tolist()})


def test_extra_state_is_saved_under_the_prefix_of_its_module() -> None:
    model = nn.Sequential(nn.Linear(1, 1), filled(Counting(3), 1.0))
    state = model.state_dict()
    assert list(state) == [
        "0.weight", "0.bias", "1._extra_state", "1.layer.weight", "1.layer.bias",
    ]  # fmt: skip
    other = nn.Sequential(nn.Linear(1, 1), Counting(0))
    other.load_state_dict(state)
    assert other[1].count == 3 and values(other[1]) == [1.0]


def test_extra_state_that_is_missing_or_refused_changes_nothing() -> None:
    model, state = filled(Counting(3), 1.0), filled(Counting(5), 2.0).state_dict()
    with pytest.raises(sley.LoadError, match=r'Missing key\(s\) in state_dict: "_extra_state"'):
        model.load_state_dict({k: v for k, v in state.items() if k != "_extra_state"})
    with pytest.raises(ValueError, match="negative"):
        model.load_state_dict({**state, "_extra_state": {"count": -1}})
    assert model.count == 3 and values(model) == [1.0]
    plain = nn.Linear(2, 2)
    with pytest.raises(sley.LoadError, match=r'Unexpected key\(s\) in state_dict: "_extra_state"'):
        plain.load_state_dict({**plain.state_dict(), "_extra_state": 1})


def test_who_defines_no_extra_state_says_so() -> None:
    with pytest.raises(NotImplementedError, match="get_extra_state"):
        nn.Linear(1, 1).get_extra_state()
    with pytest.raises(NotImplementedError, match="set_extra_state"):
        nn.Linear(1, 1).set_extra_state(1)


def test_hooks_around_state_dict() -> None:
    model, seen = nn.Sequential(nn.Linear(2, 2)), []

    def after(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        seen.append(("after", prefix))
        state[prefix + "shape"] = state.pop(prefix + "bias").shape

    model[0].register_state_dict_pre_hook(lambda m, prefix, keep: seen.append((prefix, keep)))
    handle = model[0].register_state_dict_post_hook(after)
    assert list(model.state_dict(keep_vars=True)) == ["0.weight", "0.shape"]
    assert seen == [("0.", True), ("after", "0.")]
    handle.remove()
    assert list(model.state_dict()) == ["0.weight", "0.bias"]


def test_a_hook_before_loading_renames() -> None:
    model = nn.Sequential(filled(nn.Linear(2, 2), 0.0))

    def rename(module, state, prefix, metadata, strict, missing, unexpected, errors) -> None:
        state[prefix + "weight"] = state.pop(prefix + "kernel")

    model[0].register_load_state_dict_pre_hook(rename)
    given = {"0.kernel": sley.ones(2, 2), "0.bias": sley.ones(2)}
    model.load_state_dict(given)
    assert values(model) == [1.0] and list(given) == ["0.kernel", "0.bias"]


def test_a_hook_before_loading_refuses() -> None:
    model = filled(nn.Linear(2, 2), 0.0)
    model.register_load_state_dict_pre_hook(lambda *args: args[-1].append("too old"))
    with pytest.raises(sley.LoadError, match="too old"):
        model.load_state_dict({"weight": sley.ones(2, 2), "bias": sley.ones(2)}, strict=False)
    assert values(model) == [0.0]


def test_a_hook_after_loading_forgives_missing_names() -> None:
    model = filled(nn.Linear(2, 2), 0.0)
    handle = model.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    keys = model.load_state_dict({"weight": sley.ones(2, 2)})
    assert keys.missing_keys == [] and values(model) == [0.0, 1.0]
    handle.remove()
    with pytest.raises(sley.LoadError, match="Missing"):
        model.load_state_dict({"weight": sley.ones(2, 2)})


def test_what_hooks_after_loading_do_not_forgive_is_put_back() -> None:
    model, seen = nn.Sequential(filled(nn.Linear(2, 2), 0.0)), []
    model[0].register_load_state_dict_post_hook(lambda m, keys: seen.append(values(m)))
    model.register_load_state_dict_post_hook(lambda m, keys: seen.append("outer"))
    before = model[0].weight.detach()
    for assign in (False, True):
        with pytest.raises(sley.LoadError, match="Missing"):
            model.load_state_dict({"0.weight": sley.ones(2, 2)}, assign=assign)
        assert values(model) == [0.0] and before.sum().item() == 0
    assert seen == [[0.0, 1.0], "outer"] * 2
    with sley.no_grad():
        model[0].weight.fill_(3.0)
    assert before.sum().item() == 12.0, "the memory is the one that it was"


def test_assigning_takes_over_memory_and_dtype() -> None:
    model, given = nn.Linear(2, 2), sley.ones(2, 2, dtype=sley.float64)
    parameter = model.weight
    model.load_state_dict({"weight": given, "bias": sley.zeros(2)}, assign=True)
    assert model.weight.dtype is sley.float64 and model.weight.requires_grad
    given.mul_(2)
    assert model.weight is parameter and model.weight.tolist() == [[2.0, 2.0]] * 2


def test_hooks_survive_copies() -> None:
    model = nn.Sequential(Counting(2))
    model[0].register_load_state_dict_post_hook(_forgive)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.load_state_dict({"0._extra_state": {"count": 9}})
        assert other[0].count == 9 and model[0].count == 2
        np.testing.assert_array_equal(
            other[0].layer.weight.detach(), model[0].layer.weight.detach()
        )


def _forgive(module: nn.Module, keys: Any) -> None:
    keys.missing_keys.clear()


def test_parameters_as_at_first() -> None:
    for layer, weight in (
        (nn.LayerNorm(3), 1.0), (nn.GroupNorm(1, 3), 1.0), (nn.RMSNorm(3), 1.0),
        (nn.BatchNorm1d(3), 1.0), (nn.PReLU(3, init=0.5), 0.5),
    ):  # fmt: skip
        filled(layer, 7.0)
        layer.reset_parameters()
        assert layer.weight.tolist() == [weight] * 3
        assert getattr(layer, "bias", None) is None or layer.bias.tolist() == [0.0] * 3
    nn.LayerNorm(3, elementwise_affine=False).reset_parameters()


def test_a_dict_of_parameters_is_a_dict() -> None:
    a, b = nn.Parameter(sley.ones(1)), nn.Parameter(sley.zeros(1))
    held = nn.ParameterDict({"a": a})
    assert held.get("a") is a and held.get("b") is None and held.setdefault("b", b) is b
    assert held.setdefault("b", a) is b and list(reversed(held)) == ["b", "a"]
    other = held.copy()
    assert held.pop("a") is a and other["a"] is a and held.popitem() == ("b", b)
    with pytest.raises(KeyError):
        held.popitem()
    assert list((held | other).keys()) == ["a", "b"]
    held |= {"c": b}
    assert list(held) == ["c"] and isinstance(held.fromkeys(["x"], a), nn.ParameterDict)
    other.clear()
    assert len(other) == 0 and list(other.parameters()) == []


def test_taking_modules_out_of_lists() -> None:
    for kind in (lambda *m: nn.Sequential(*m), lambda *m: nn.ModuleList(m)):
        first, second, third = nn.Linear(1, 1), nn.ReLU(), nn.Tanh()
        held = kind(first, second, third)
        assert held.pop(1) is second and list(held.state_dict()) == ["0.weight", "0.bias"]
        assert held.pop(-1) is third and len(held) == 1
        with pytest.raises(IndexError):
            held.pop(4)


def test_parameters_of_a_dict_come_by_name() -> None:
    """As in PyTorch, whose optimizers' states number the parameters in this order."""
    one = {name: sley.ones(1) for name in ("b", "a")}
    assert list(nn.ParameterDict(one)) == ["a", "b"]
    assert list(nn.ParameterDict(one.items())) == ["b", "a"]
    kept = nn.ParameterDict(OrderedDict(one))
    assert list(kept) == list(kept.copy()) == list(kept | {"c": sley.ones(1)})[:2] == ["b", "a"]
