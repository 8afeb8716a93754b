"""Inference and training steps of the whole models: forward, backward, optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..libraries import SleyEager
from ..workload import Arrays, Call, Library, Workload
from . import jax_models, models

_DECAY, _BETAS, _EPS = 0.01, (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Model:
    """A model with its data: of `classes` numbers of the shape `target`, for each example."""

    name: str
    make: Callable[[Library, bool], Any]
    jax: Callable[..., Any]
    example: tuple[int, ...]
    classes: int
    target: tuple[int, ...] = ()
    tokens: bool = False
    adam: bool = False
    rate: float = 0.01


def _inputs(model: Model, batch: int) -> Callable[[bool], Arrays]:
    """Data, class numbers, and all parameters; their shapes are those of the model."""

    def make(tiny: bool) -> Arrays:
        rng = np.random.default_rng(0)
        net = model.make(SleyEager(), tiny)
        n, classes = (min(batch, 3), min(model.classes, 10)) if tiny else (batch, model.classes)
        example, target = _tiny(model) if tiny else (model.example, model.target)
        x: np.ndarray = rng.standard_normal((n, *example), np.float32)
        if model.tokens:
            x = rng.integers(0, classes, (n, *example))
        y = rng.integers(0, classes, (n, *target))
        return [x, y, *(_parameter(rng, *named) for named in net.named_parameters())]

    return make


def _tiny(model: Model) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of an example and of its target for the model made with `tiny`."""
    if model.make is models.lstm:
        return (3, 6), ()
    if model.tokens:
        return (5,), (5,)
    channels, *image = model.example
    if len(image) == 2 and channels == 3:
        return (3, 16, 16), (16, 16) if model.target else ()
    return model.example, model.target


def _parameter(rng: np.random.Generator, name: str, tensor: Any) -> np.ndarray:
    """Uniform as layers begin; scales of norms around 1."""
    shape = tuple(tensor.shape)
    if len(shape) > 1:
        bound = float(np.prod(shape[1:])) ** -0.5
        return rng.uniform(-bound, bound, shape).astype(np.float32)
    center = 1.0 if name.endswith("weight") else 0.0
    return (center + rng.uniform(-0.05, 0.05, shape)).astype(np.float32)


def _filled(model: Model, library: Library, parameters: Sequence[Any]) -> Any:
    """The model with these parameters: the tiny one if their shapes are its."""
    for tiny in (True, False):
        net = model.make(library, tiny)
        targets = list(net.parameters())
        if [tuple(t.shape) for t in targets] == [tuple(p.shape) for p in parameters]:
            break
    net = library.place(net)
    targets = list(net.parameters())
    with library.module.no_grad():
        for target, parameter in zip(targets, parameters, strict=True):
            target.copy_(parameter)
    return net


def inference(model: Model, batch: int) -> Workload:
    def torch_like(library: Library, tensors: Sequence[Any]) -> Call:
        x, _, *parameters = tensors
        net = _filled(model, library, parameters).eval()
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        function = library.compile(net)
        return lambda: function(x)

    def jax_like(jax: Any, arrays: Sequence[Any]) -> Call:
        x, _, *parameters = arrays
        function = jax.jit(lambda p, x: model.jax(jax, p, x, False))
        return lambda: function(parameters, x).block_until_ready()

    return Workload(
        f"{model.name}, batch {batch}", "inference", _inputs(model, batch), torch_like, jax_like,
        counted=True, tolerance=1e-3, exported=True,
    )  # fmt: skip


def training(model: Model, batch: int) -> Workload:
    def torch_like(library: Library, tensors: Sequence[Any]) -> Call:
        x, y, *parameters = tensors
        net, optim = _filled(model, library, parameters).train(), library.module.optim
        if model.adam:
            optimizer = optim.AdamW(net.parameters(), lr=model.rate, weight_decay=_DECAY)
        else:
            optimizer = optim.SGD(net.parameters(), lr=model.rate, momentum=_BETAS[0])

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            scores = net(x)
            if model.tokens:
                scores, y = scores.flatten(0, 1), y.flatten()
            loss = library.functional.cross_entropy(scores, y)
            loss.backward()
            optimizer.step()
            return loss

        function = library.compile(step)
        return lambda: function(x, y)

    def jax_like(jax: Any, arrays: Sequence[Any]) -> Call:
        x, y, *parameters = arrays
        update = _jax_adam if model.adam else _jax_sgd

        def loss_of(p: Any, x: Any, y: Any) -> Any:
            scores = model.jax(jax, p, x, True)
            if scores.ndim == 4:
                scores = scores.transpose(0, 2, 3, 1)
            chosen = jax.numpy.take_along_axis(jax.nn.log_softmax(scores), y[..., None], -1)
            return -chosen.mean()

        def step(state: Any, x: Any, y: Any) -> Any:
            loss, gradients = jax.value_and_grad(loss_of)(state[0], x, y)
            return loss, update(jax, model.rate, state, gradients)

        compiled = jax.jit(step, donate_argnums=(0,))
        zeros = [[jax.numpy.zeros_like(p) for p in parameters] for _ in range(1 + model.adam)]
        state = [[parameters, *zeros, jax.numpy.zeros(())]]

        def call() -> Any:
            loss, state[0] = compiled(state[0], x, y)
            return jax.block_until_ready((loss, state))[0]

        return call

    return Workload(
        f"step of {model.name}, batch {batch}", "training", _inputs(model, batch), torch_like,
        jax_like, counted=True, tolerance=2e-3, checked_calls=3,
    )  # fmt: skip


def _jax_sgd(jax: Any, rate: float, state: Any, gradients: Any) -> Any:
    p, v, count = state
    v = [_BETAS[0] * m + g for m, g in zip(v, gradients, strict=True)]
    return [w - rate * m for w, m in zip(p, v, strict=True)], v, count


def _jax_adam(jax: Any, rate: float, state: Any, gradients: Any) -> Any:
    p, m, v, count = state
    (a, b), count = _BETAS, count + 1
    m = [a * x + (1 - a) * g for x, g in zip(m, gradients, strict=True)]
    v = [b * x + (1 - b) * g * g for x, g in zip(v, gradients, strict=True)]
    root, scale = jax.numpy.sqrt(1 - b**count), rate / (1 - a**count)
    moved = zip(p, m, v, strict=True)
    p = [
        w * (1 - rate * _DECAY) - scale * x / (jax.numpy.sqrt(y) / root + _EPS) for w, x, y in moved
    ]
    return p, m, v, count


MLP = Model("MLP", models.mlp, jax_models.mlp, (784,), 10)
CNN = Model("small CNN", models.cnn, jax_models.cnn, (1, 28, 28), 10)
LSTM = Model("LSTM", models.lstm, jax_models.lstm, (48, 256), 10, adam=True, rate=1e-3)
GPT = Model(
    "GPT", models.gpt, jax_models.gpt, (512,), 4096, (512,), tokens=True, adam=True, rate=1e-4
)
BERT = Model(
    "BERT", models.bert, jax_models.bert, (128,), 2048, (128,), tokens=True, adam=True, rate=1e-4
)
UNET = Model("U-Net", models.unet, jax_models.unet, (3, 64, 64), 2, (64, 64))


def resnet(side: int) -> Model:
    return Model("ResNet-18", models.resnet18, jax_models.resnet18, (3, side, side), 1000)


WORKLOADS = (
    inference(MLP, 1),
    inference(MLP, 64),
    inference(CNN, 1),
    inference(CNN, 64),
    inference(resnet(224), 1),
    inference(LSTM, 32),
    inference(GPT, 1),
    inference(BERT, 8),
    inference(UNET, 4),
    training(MLP, 64),
    training(CNN, 64),
    training(resnet(64), 8),
    training(LSTM, 32),
    training(GPT, 1),
    training(BERT, 8),
    training(UNET, 4),
)
