"""The base of all optimizers: groups, state, saving."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from ..construct import as_tensor
from ..context import ambient, enable_grad, setting
from ..device import Device
from ..epoch import epoch
from ..errors import ArgumentError, DTypeError, FirstCallError, LoadError, UnsupportedError
from ..nn.parameter import UninitializedParameter
from ..tensor import Tensor, elements, here, of_array
from ..unwatched import Unwatched
from .group import ParamGroup, set_values, values_of
from .hooks import Hook, HookHandle, between_hooks
from .state import State, numbers_moved

Closure = Callable[[], Any]

_OURS = __name__.partition(".")[0] + "."  # the modules of optimizers that call no user's code


class Optimizer:
    """Updates parameters in place by their gradients.

    All state is made when parameters are added: the first step is the same program as the others.
    Subclasses define `_fill_state(group, parameter, state)` and `_update(group, parameters)`.

    Attributes:
        param_groups: the `ParamGroup`s.
        state: for each parameter its tensors by name.
        defaults: what a group has unless it says otherwise.

    Raises:
        ArgumentError: no parameters, one twice, or a number out of its range.
        DTypeError: a parameter is no tensor, or complex where PyTorch does not take that, either.
        UnsupportedError: `differentiable`.
    """

    reports_reads = True  # to the trace: attributes need no other guard
    _counts = False  # whether each parameter has a "step"
    _complex = True  # whether it takes complex parameters, each as two real ones

    _pre_hooks: tuple[Hook, ...] = ()
    _post_hooks: tuple[Hook, ...] = ()
    _save_pre_hooks: tuple[Hook, ...] = ()
    _save_post_hooks: tuple[Hook, ...] = ()
    _load_pre_hooks: tuple[Hook, ...] = ()
    _load_post_hooks: tuple[Hook, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in vars(cls):
            cls.step = between_hooks(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Any, defaults: dict[str, Any], differentiable: bool = False) -> None:
        if differentiable:
            raise UnsupportedError(
                f"{type(self).__name__}: differentiable=True; parameters are written without a "
                "history",
                hint="compute new parameters, and call the module with func.functional_call()",
            )
        self.defaults = defaults
        self.param_groups: list[ParamGroup] = []
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        given = [params] if isinstance(params, Tensor) else list(params)
        if not given:
            raise ArgumentError(f"{type(self).__name__} got no parameters")
        groups: list[Any] = given if isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with numbers of their own: {"params": [...], "lr": 0.1}."""
        if "params" not in param_group:
            raise ArgumentError(
                f"a group of an optimizer has no 'params', only {sorted(param_group)}",
                hint='a group is written {"params": [...], "lr": 0.1}',
            )
        given = param_group["params"]
        params = [given] if isinstance(given, Tensor) else list(given)
        if params and isinstance(params[0], tuple):  # named_parameters()
            params = [parameter for _, parameter in params]
        known = {p for group in self.param_groups for p in group.params}
        for parameter in params:
            if not isinstance(parameter, Tensor):
                raise DTypeError(f"an optimizer takes tensors, not a {type(parameter).__name__}")
            if isinstance(parameter, UninitializedParameter):
                raise ArgumentError(
                    "an optimizer got a parameter whose shape is not known yet",
                    hint="call the model with lazy layers once before",
                )
            if here(parameter).spec.dtype.is_complex and not self._complex:
                raise DTypeError(
                    f"{type(self).__name__} does not take complex parameters",
                    hint="keep a real parameter and use sley.view_as_complex() of it",
                )
            if not parameter.is_leaf:
                raise ArgumentError("an optimizer takes leaves, not computed tensors")
            if parameter in known:
                raise ArgumentError("a parameter is given to an optimizer twice")
            known.add(parameter)
        values = {**self.defaults, **{k: v for k, v in param_group.items() if k != "params"}}
        self._check(values)
        group = ParamGroup(params, {name: values[name] for name in self.defaults})
        for name in values.keys() - self.defaults.keys():
            group[name] = values[name]
        group.changed = functools.partial(self._complete, group)
        self.param_groups.append(group)
        self._complete(group)
        epoch.count += 1

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for group in self.param_groups:
            group.changed = functools.partial(self._complete, group)

    def _check(self, values: Mapping[str, Any]) -> None:
        """Refuse numbers out of their range."""
        for name in ("lr", "eps", "weight_decay", "momentum"):
            value = values.get(name, 0)
            if isinstance(value, (int, float)) and value < 0:
                raise ArgumentError(f"{type(self).__name__}: {name}={value} is negative")
        for beta in values.get("betas", ()):
            if isinstance(beta, (int, float)) and not 0 <= beta < 1:
                raise ArgumentError(f"{type(self).__name__}: a beta of {beta} is not in [0, 1)")

    def _complete(self, group: ParamGroup) -> None:
        """Make the state of parameters that do not have it yet."""
        with setting(grad_enabled=False):
            if self._counts and len(group.steps) < len(group.params):
                group.steps = [of_array(np.array(0.0, np.float32))] * len(group.params)
            for position, parameter in enumerate(group.params):
                state = self.state.setdefault(parameter, State())
                if self._counts:
                    state.setdefault("step", group.steps[position])
                self._fill_state(group, parameter, state)

    def _fill_state(self, group: ParamGroup, parameter: Tensor, state: dict[str, Tensor]) -> None:
        """Add the tensors that `group` asks for and `state` lacks."""

    def _update(self, group: ParamGroup, parameters: list[Tensor]) -> None:
        """Update the parameters of a group that have gradients."""
        raise NotImplementedError(f"{type(self).__name__} does not define _update()")

    def _groups(self) -> list[ParamGroup]:
        if ambient.trace is not None:
            ambient.trace.record_read("attribute", self, "param_groups", self.param_groups)
        return self.param_groups

    def register_step_pre_hook(self, hook: Hook) -> HookHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; what it returns, if not None, are
        the arguments of the step and the keyword arguments."""
        return self._register("_pre_hooks", hook)

    def register_step_post_hook(self, hook: Hook) -> HookHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return self._register("_post_hooks", hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer)` before `state_dict()`."""
        return self._register("_save_pre_hooks", hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer, state_dict)` with what `state_dict()` found; what it returns, if
        not None, takes its place."""
        return self._register("_save_post_hooks", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer, state_dict)` before `load_state_dict()`, with a shallow copy; what
        it returns, if not None, is loaded."""
        return self._register("_load_pre_hooks", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer)` after `load_state_dict()`."""
        return self._register("_load_post_hooks", hook, prepend)

    def _register(self, name: str, hook: Hook, prepend: bool = False) -> HookHandle:
        hooks = getattr(self, name)
        setattr(self, name, (hook, *hooks) if prepend else (*hooks, hook))
        epoch.count += 1
        return HookHandle(self, name, hook)

    def _hooks_of(self, name: str) -> tuple[Hook, ...]:
        hooks: tuple[Hook, ...] = getattr(self, name)
        if ambient.trace is not None:
            ambient.trace.record_read("attribute", self, name, hooks)
        return hooks

    @between_hooks
    def step(self, closure: Closure | None = None) -> Any:
        """Update every parameter that has a gradient. `closure`, if given, computes the loss (and
        the gradients) first; its result is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with setting(grad_enabled=False):
            for group in self._groups():
                trained = group.trained()
                if trained:
                    with Unwatched() if type(self).__module__.startswith(_OURS) else nullcontext():
                        self._update(group, trained)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with 0."""
        for group in self._groups():
            for parameter in group.params:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    with setting(grad_enabled=False):
                        parameter.grad.zero_()

    # Counts of steps

    def _counted(
        self, group: ParamGroup, trained: list[Tensor]
    ) -> list[tuple[Tensor, list[Tensor]]]:
        """The trained parameters by their count of steps, which has been raised by one.

        All parameters of a group share one count, until one of them misses a step.
        """
        if ambient.trace is not None:
            ambient.trace.record_read("attribute", group, "steps", group.steps)
        if len(trained) < len(group.params):
            self._separate(group, set(trained))
        by_step: dict[Tensor, list[Tensor]] = {}
        for parameter in trained:
            by_step.setdefault(self.state[parameter]["step"], []).append(parameter)
        for step in by_step:
            step.add_(1)
        return list(by_step.items())

    def _separate(self, group: ParamGroup, trained: set[Tensor]) -> None:
        """Give parameters that miss this step a count of their own, if they share one with others
        that do not.

        Raises:
            FirstCallError: that has to be done while a function is recorded.
        """
        moving = {self.state[p]["step"] for p in group.params if p in trained}
        copies: dict[Tensor, Tensor] = {}
        for position, parameter in enumerate(group.params):
            step = self.state[parameter]["step"]
            if parameter in trained or step not in moving:
                continue
            if ambient.trace is not None:
                raise FirstCallError("a parameter without a gradient gets its own count of steps")
            if step not in copies:
                copies[step] = step.clone()
            self.state[parameter]["step"] = copies[step]
            group.steps = [*group.steps[:position], copies[step], *group.steps[position + 1 :]]
        if copies:
            epoch.count += 1

    def numbers_to(self, device: Device) -> None:
        """Move the counts of steps, and other 0-d state, to `device`.

        Raises:
            FirstCallError: that has to be done while a function is recorded.
        """
        moved = numbers_moved(self.state.values(), device)
        if moved:
            for group in self.param_groups:
                group.steps = [moved.get(step, step) for step in group.steps]
            epoch.count += 1

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: tensors by name}, "param_groups": [...]}, the parameters by number."""
        for pre_hook in self._save_pre_hooks:
            pre_hook(self)
        found = self._saved()
        for hook in self._save_post_hooks:
            changed = hook(self, found)
            found = found if changed is None else changed
        return found

    def _saved(self) -> dict[str, Any]:
        numbers = {p: k for k, p in enumerate(p for g in self.param_groups for p in g.params)}
        groups = []
        for group in self.param_groups:
            values = {name: group[name] for name in group if name != "params"}
            groups.append({**values, "params": [numbers[p] for p in group.params]})
        state = {numbers[p]: dict(tensors) for p, tensors in self.state.items() if tensors}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Write what `state_dict` holds into this optimizer's tensors and groups, in place.

        Raises:
            LoadError: the groups have other numbers of parameters, or there is state that this
                optimizer has not; nothing has been changed then.
        """
        for pre_hook in self._load_pre_hooks:
            changed = pre_hook(self, dict(state_dict))
            state_dict = state_dict if changed is None else changed
        self._load(state_dict)
        for hook in self._load_post_hooks:
            hook(self)

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        saved, states = self._saved_parts(state_dict)
        before = [(group, values_of(group)) for group in self.param_groups]
        kept = {parameter: dict(state) for parameter, state in self.state.items()}
        try:
            for group, values in zip(self.param_groups, saved, strict=True):
                set_values(group, values)
            pairs = self._pairs(saved, states)
            for own, entries in pairs:
                self._check_entries(own, entries)
        except Exception:
            for group, values in before:
                set_values(group, values)
            for parameter, state in self.state.items():
                state.clear()
                state.update(kept[parameter])
            raise
        with setting(grad_enabled=False):
            for own, entries in pairs:
                self._load_entries(own, entries)
            if self._counts:
                # Counts may differ from here on: each parameter has its own.
                for group in self.param_groups:
                    group.steps = [self.state[p]["step"] for p in group.params]
        epoch.count += 1

    def _saved_parts(self, state_dict: Any) -> tuple[list[Any], Mapping[Any, Any]]:
        """The groups and the state of a state dict, if they are for as many parameters."""
        name = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= {*state_dict}:
            raise LoadError(f"what {name} loads is no state_dict of an optimizer")
        groups, states = state_dict["param_groups"], state_dict["state"]
        if not isinstance(groups, list) or not isinstance(states, Mapping):
            raise LoadError(f"what {name} loads is no state_dict of an optimizer")
        if not all(isinstance(g, Mapping) and isinstance(g.get("params"), list) for g in groups):
            raise LoadError(f"a group of the state_dict that {name} loads has no parameters")
        if len(groups) != len(self.param_groups):
            raise LoadError("loaded state dict has a different number of parameter groups")
        if [len(g["params"]) for g in groups] != [len(g.params) for g in self.param_groups]:
            raise LoadError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        return groups, states

    def _pairs(
        self, saved: list[Any], states: Mapping[Any, Any]
    ) -> list[tuple[dict[str, Tensor], Mapping[str, Any]]]:
        """For each parameter its state here and there."""
        return [
            (
                self.state[parameter],
                {k: v for k, v in states.get(number, {}).items() if v is not None},
            )
            for group, values in zip(self.param_groups, saved, strict=True)
            for parameter, number in zip(group.params, values["params"], strict=True)
        ]

    def _check_entries(self, own: dict[str, Tensor], entries: Mapping[str, Any]) -> None:
        for name, value in entries.items():
            if name not in own:
                raise LoadError(f"load_state_dict: no state {name!r} in {type(self).__name__}")
            shape = tuple(getattr(value, "shape", ()))
            counts = name == "step" and shape in ((), (1,))
            if not counts and shape != tuple(own[name].shape):
                raise LoadError(
                    f"load_state_dict: {name!r} has the shape {list(shape)}, "
                    f"{list(own[name].shape)} in this {type(self).__name__}"
                )

    def _load_entries(self, own: dict[str, Tensor], entries: Mapping[str, Any]) -> None:
        for name, value in entries.items():
            source = as_tensor(value).detach().reshape(own[name].shape)
            if name == "step" and self._counts:
                own["step"] = of_array(np.array(elements(source), np.float32))
            else:
                own[name].copy_(source)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])
