"""The libraries that are compared, and what those with torch's API spell differently."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

# The order in which they take turns. "limit" is the machine's own: see limits.py.
PEERS = ("torch", "torch.compile", "jax", "onnxruntime", "numpy")
IMPLEMENTATIONS = ("sley", *PEERS)
PACKAGES = ("sley", "llvmlite", "torch", "jax", "onnxruntime", "numpy")


def is_installed(implementation: str) -> bool:
    """Whether the library can be imported, and what it needs."""
    needed = {"torch.compile": ("torch",), "onnxruntime": ("onnxruntime", "onnx", "torch")}
    packages = needed.get(implementation, (implementation,))
    return all(importlib.util.find_spec(package) is not None for package in packages)


class Library(Protocol):
    """What torch and sley have in common, and what they spell differently."""

    module: Any  # torch or sley
    functional: Any  # nn.functional

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, or a module's forward pass, as it would be used in earnest."""

    def tensor(self, array: np.ndarray) -> Any:
        """A tensor with the array's elements."""

    def place(self, module: Any) -> Any:
        """The module where its tensors belong."""


class Torch:
    """torch in its eager mode."""

    def __init__(self) -> None:
        import torch

        self.module: Any = torch
        self.functional: Any = torch.nn.functional

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def tensor(self, array: np.ndarray) -> Any:
        return self.module.from_numpy(array.copy())

    def place(self, module: Any) -> Any:
        return module


class TorchCompiled(Torch):
    """torch with its own compiler."""

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.module.compiler.reset()  # what earlier workloads compiled counts against a bound
        compiled: Callable[..., Any] = self.module.compile(function, dynamic=False)
        return compiled


class OnnxRuntime(Torch):
    """onnxruntime with what torch exports; parameters are constants of the model."""

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        session: list[Any] = []

        def run(*tensors: Any) -> Any:
            if not session:
                session.append(self._session(function, tensors))
            feeds = {f"x{k}": t.numpy() for k, t in enumerate(tensors)}
            found = session[0].run(None, feeds)
            return found[0] if len(found) == 1 else found

        return run

    def _session(self, function: Callable[..., Any], tensors: Sequence[Any]) -> Any:
        import onnxruntime

        class Wrapped(self.module.nn.Module):  # type: ignore[name-defined]
            def forward(self, *arguments: Any) -> Any:
                return function(*arguments)

        file = io.BytesIO()
        names = [f"x{k}" for k in range(len(tensors))]
        self.module.onnx.export(
            Wrapped().eval(), tuple(tensors), file, input_names=names, dynamo=False,
            do_constant_folding=True, opset_version=18,
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.module.get_num_threads()
        return onnxruntime.InferenceSession(
            file.getvalue(), options, providers=["CPUExecutionProvider"]
        )


class SleyEager:
    def __init__(self) -> None:
        import sley

        self.module: Any = sley
        self.functional: Any = sley.nn.functional

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def tensor(self, array: np.ndarray) -> Any:
        return self.module.tensor(array)

    def place(self, module: Any) -> Any:
        return module


class Sley(SleyEager):
    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = self.module.compile(function)
        return compiled


class Counting(SleyEager):
    """A call compiles and does not run; `programs` has what was recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.programs: list[Any] = []

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled = self.module.compile(function)
        return lambda *arguments: self.programs.append(compiled.lower(*arguments).graph)


_LIBRARIES: dict[str, type[Library]] = {
    "torch": Torch, "torch.compile": TorchCompiled, "onnxruntime": OnnxRuntime, "sley": Sley,
    "sley eager": SleyEager,
}  # fmt: skip


def library_of(implementation: str) -> Library:
    return _LIBRARIES[implementation]()
