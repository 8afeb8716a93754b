"""Modules: each made once with a fixed seed, called on tensors, in eval and (where it differs)
training mode. The reference is the function of nn.functional with the module's parameters, which
`activations`, `losses`, `convolutions` and `layers` compare with numpy; recurrent ones have a
rendering in numpy here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special as special
from public.samples import Sample, Table, drawn

import sley
from sley import nn

from . import activations, convolutions, losses

TABLE = Table()
F = sley.nn.functional


def numbers(module: nn.Module) -> dict[str, np.ndarray]:
    """The parameters and buffers in float64."""
    return {name: t.detach().numpy() for name, t in module.state_dict().items()}


def made(name: str, *args: Any, **kwargs: Any) -> nn.Module:
    """A module in float64 with parameters that a seed gives, in eval mode."""
    sley.manual_seed(7)
    return getattr(nn, name)(*args, **kwargs).double().eval()


def module(
    name: str,
    args: Sequence[Any],
    inputs: Sequence[Any],
    reference: Callable[..., Any] | None = None,
    *,
    label: str = "eval",
    training: bool = False,
    **rest: Any,
) -> None:
    """`reference(*arrays, **parameters)`; inputs are shapes or arrays."""
    kwargs = args[-1] if args and isinstance(args[-1], dict) else {}
    sley_module = made(name, *[a for a in args if a is not kwargs], **kwargs).train(training)
    arrays = [a if isinstance(a, np.ndarray) else drawn(a, "float64", 0.1, 0.9, k)
              for k, a in enumerate(inputs)]  # fmt: skip

    def expected(*given: np.ndarray) -> Any:
        assert reference is not None
        state = {k.replace(".", "_"): v for k, v in numbers(sley_module).items()}
        return reference(*given, **state)

    TABLE.case(f"nn.{name}", label, sley_module, arrays, expected if reference else None,
               **{"gradient": True, **rest})  # fmt: skip


# ------------------------------------------------------------- those without parameters: functions


def from_functional() -> None:
    """Each module that is a function of nn.functional with its settings kept, on the first sample
    of the function without settings of its own."""
    by_name: dict[str, list[Sample]] = {}
    for table in (activations.TABLE, losses.TABLE, convolutions.TABLE):
        for sample in table.samples:
            by_name.setdefault(sample.name.removeprefix("nn.functional."), []).append(sample)
    for name, (function, args) in PLAIN.items():
        sample = next(s for s in by_name[function] if s.label in LABELS)
        TABLE.case(f"nn.{name}", "as function", getattr(nn, name)(*args), sample.arrays,
                   sample.reference, dtype=sample.dtype, gradient=sample.gradient,
                   tolerance=sample.tolerance)  # fmt: skip


# The labels of samples with no settings of their own, in float64.
LABELS = ("float64", "mean-float64", "-1-float64", "1-float64", "2.0-float64", "sum-float64")
PLAIN: dict[str, tuple[str, tuple[Any, ...]]] = {
    "ReLU": ("relu", ()), "ReLU6": ("relu6", ()), "Sigmoid": ("sigmoid", ()), "Tanh": ("tanh", ()),
    "ELU": ("elu", ()), "SELU": ("selu", ()), "CELU": ("celu", ()), "SiLU": ("silu", ()),
    "Mish": ("mish", ()), "Softplus": ("softplus", ()), "Softsign": ("softsign", ()),
    "Tanhshrink": ("tanhshrink", ()), "GELU": ("gelu", ()), "Hardtanh": ("hardtanh", ()),
    "Hardsigmoid": ("hardsigmoid", ()), "Hardswish": ("hardswish", ()),
    "Hardshrink": ("hardshrink", ()), "Softshrink": ("softshrink", ()),
    "LeakyReLU": ("leaky_relu", ()), "LogSigmoid": ("logsigmoid", ()),
    "Softmax": ("softmax", (-1,)), "LogSoftmax": ("log_softmax", (-1,)),
    "Softmin": ("softmin", (-1,)), "GLU": ("glu", ()), "CosineSimilarity":
    ("cosine_similarity", ()), "PairwiseDistance": ("pairwise_distance", ()),
    "MSELoss": ("mse_loss", ()), "L1Loss": ("l1_loss", ()), "SmoothL1Loss": ("smooth_l1_loss", ()),
    "HuberLoss": ("huber_loss", ()), "BCELoss": ("binary_cross_entropy", ()),
    "BCEWithLogitsLoss": ("binary_cross_entropy_with_logits", ()), "KLDivLoss": ("kl_div", ()),
    "SoftMarginLoss": ("soft_margin_loss", ()), "PoissonNLLLoss": ("poisson_nll_loss", ()),
    "GaussianNLLLoss": ("gaussian_nll_loss", ()), "TripletMarginLoss": ("triplet_margin_loss", ()),
    "TripletMarginWithDistanceLoss": ("triplet_margin_with_distance_loss", ()),
    "MultiLabelSoftMarginLoss": ("multilabel_soft_margin_loss", ()),
    "NLLLoss": ("nll_loss", ()), "CrossEntropyLoss": ("cross_entropy", ()),
    "MultiMarginLoss": ("multi_margin_loss", ()),
    **{f"{kind}Pool{n}d": (f"{kind.lower()}_pool{n}d", (2,))
       for n in (1, 2, 3) for kind in ("Max", "Avg")},
    **{f"LPPool{n}d": (f"lp_pool{n}d", (3.0, 2)) for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{n}d": (f"adaptive_{kind.lower()}_pool{n}d", ((3, 2, 3)[:n],))
       for n in (1, 2, 3) for kind in ("Max", "Avg")},
}  # fmt: skip
from_functional()
SIGNS = np.array([1, -1, 1, -1])
module("CosineEmbeddingLoss", [], [(4, 3), (4, 3), SIGNS],
       lambda a, b, y: losses.embedding_loss(a, b, y, 0.0).mean())  # fmt: skip
module("MarginRankingLoss", [0.5], [(4,), (4,), SIGNS],
       lambda a, b, y: np.maximum(-y * (a - b) + 0.5, 0).mean())  # fmt: skip
module("HingeEmbeddingLoss", [], [(4,), SIGNS],
       lambda x, y: np.where(y == 1, x, np.maximum(1 - x, 0)).mean())  # fmt: skip
module("MultiLabelMarginLoss", [], [(2, 4), np.array([[3, 0, -1, 1], [1, -1, -1, 2]])],
       lambda x, y: losses.label_margins(x, y).mean())  # fmt: skip
TABLE.case("nn.CTCLoss", "mean", lambda x, y: nn.CTCLoss()(sley.log_softmax(x, -1), y,
           *losses.LENGTHS), [drawn((4, 3, 3), "float64", -1, 1), losses.TARGETS],
           lambda x, y: losses.ctc(x, y, "mean"), gradient=True)  # fmt: skip
module("Threshold", [0.3, 7.0], [(3, 5)], lambda x: activations.threshold(x, 0.3, 7.0))
module("RReLU", [], [(3, 5)], lambda x: activations.leaky(x, 11 / 48))
module("PReLU", [3], [(2, 3, 4)], lambda x, weight: activations.leaky(x, weight[:, None]))
module("Softmax2d", [], [(2, 3, 4, 2)], lambda x: special.softmax(x, 1))
module("Identity", [1, {"other": 2}], [(2, 3)], lambda x: x)
module("Flatten", [], [(2, 3, 4)], lambda x: x.reshape(2, 12))
module("Unflatten", [1, (3, 2)], [(2, 6)], lambda x: x.reshape(2, 3, 2))
module("ChannelShuffle", [2], [(2, 4, 3)], lambda x: x[:, [0, 2, 1, 3]])
module("Unfold", [(2, 3), {"padding": 1}], [(2, 3, 5, 6)],
       lambda x: convolutions.unfolded(x, kernel=(2, 3), padding=1))  # fmt: skip
module("Fold", [(4, 3), 2], [(2, 8, 6)], convolutions.folded)
for _name, _like in (("PixelShuffle", (2, 8, 3, 2)), ("PixelUnshuffle", (2, 2, 4, 6))):
    _function = getattr(F, "pixel_shuffle" if _name == "PixelShuffle" else "pixel_unshuffle")
    module(_name, [2], [_like], lambda x, f=_function: f(sley.tensor(x), 2).numpy())
for _n in (1, 2, 3):
    _wide = [(0, 0)] * 2 + [(1, 1)] * _n
    for _name, _how in (("Reflection", "reflect"), ("Replication", "edge"), ("Circular", "wrap"),
                        ("Zero", "constant")):  # fmt: skip
        module(f"{_name}Pad{_n}d", [1], [(2, 2, *[3] * _n)],
               lambda x, w=_wide, h=_how: np.pad(x, w, h))  # fmt: skip
    module(f"ConstantPad{_n}d", [1, 2.5], [(2, 2, *[3] * _n)],
           lambda x, w=_wide: np.pad(x, w, constant_values=2.5))  # fmt: skip
    module(f"MaxUnpool{_n}d", [2], [(1, 1, *[1] * _n), np.zeros((1, 1, *[1] * _n), np.int64)],
           lambda x, i, n=_n: np.pad(x, [(0, 0)] * 2 + [(0, 1)] * n))  # fmt: skip
for _name, _args in (
    ("Upsample", [(8, 10), {"mode": "bilinear", "align_corners": True}]),
    ("UpsamplingBilinear2d", [(8, 10)]), ("UpsamplingNearest2d", [(8, 10)]),
):  # fmt: skip
    _mode = "nearest" if "Nearest" in _name else "bilinear"
    module(
        _name,
        _args,
        [(2, 2, 4, 5)],
        lambda x, m=_mode: F.interpolate(
            sley.tensor(x), (8, 10), mode=m, align_corners=None if m == "nearest" else True
        ).numpy(),
    )

# -------------------------------------------------------------------------------- with parameters

module("Linear", [3, 5], [(4, 3)], lambda x, weight, bias: x @ weight.T + bias, batch=(0,))
module("LazyLinear", [5], [(4, 3)], None, gradient=False)
module("Bilinear", [3, 2, 5], [(4, 3), (4, 2)],
       lambda a, b, weight, bias: np.einsum("ni,oij,nj->no", a, weight, b) + bias)  # fmt: skip
for _n in (1, 2, 3):
    _x = (2, 4, *(6, 5, 4)[:_n])
    module(f"Conv{_n}d", [4, 6, 3, {"stride": 2, "padding": 1, "groups": 2}], [_x],
           lambda x, weight, bias: convolutions.conv(x, weight, bias, 2, 1, 1, 2),
           batch=(0,) if _n == 2 else None)  # fmt: skip
    module(f"ConvTranspose{_n}d", [4, 6, 2, {"stride": 2}], [_x],
           lambda x, weight, bias: convolutions.conv_transpose(x, weight, bias, 2))  # fmt: skip
    module(f"BatchNorm{_n}d", [4], [_x], lambda x, **_: x / np.sqrt(1 + 1e-5))
    module(f"BatchNorm{_n}d", [4], [_x], lambda x, **_: standard(x, (0, *range(2, x.ndim))),
           label="training", training=True, batch=(0,) if _n == 2 else None)  # fmt: skip
    module(f"InstanceNorm{_n}d", [4], [_x], lambda x: standard(x, tuple(range(2, x.ndim))))
    for _lazy, _args in ((f"LazyConv{_n}d", [6, 2]), (f"LazyConvTranspose{_n}d", [6, 2]),
                         (f"LazyBatchNorm{_n}d", []), (f"LazyInstanceNorm{_n}d", [])):  # fmt: skip
        module(_lazy, _args, [_x], None, gradient=False)
    module(f"Dropout{_n}d", [], [_x], lambda x: x)


def standard(x: np.ndarray, axes: Any) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


module("BatchNorm2d", [4, {"affine": False, "track_running_stats": False}], [(2, 4, 3, 2)],
       lambda x: standard(x, (0, 2, 3)), label="no statistics")  # fmt: skip
module("LayerNorm", [(4, 5)], [(3, 4, 5)], lambda x, weight, bias: standard(x, (1, 2)))
module("RMSNorm", [5], [(3, 5)], lambda x, weight: x / np.sqrt(
    (x * x).mean(-1, keepdims=True) + np.finfo(float).eps))  # fmt: skip
module("GroupNorm", [2, 4], [(3, 4, 5)],
       lambda x, weight, bias: standard(x.reshape(3, 2, 10), 2).reshape(3, 4, 5))  # fmt: skip
module("LocalResponseNorm", [3], [(2, 4, 5)], lambda x: F.local_response_norm(
    sley.tensor(x), 3).numpy())  # fmt: skip
for _name in ("Dropout", "AlphaDropout", "FeatureAlphaDropout"):
    module(_name, [], [(2, 3, 4)], lambda x: x)
ROWS = np.array([[1, 3, 0], [2, 2, 5]])
for _name, _reference in (("Embedding", lambda i, weight: weight[i]),
                          ("EmbeddingBag", lambda i, weight: weight[i].mean(1))):  # fmt: skip
    module(_name, [6, 3], [ROWS], _reference, gradient=False)

# -------------------------------------------------------------------------------------- recurrent


def sigmoid(x: np.ndarray) -> np.ndarray:
    return special.expit(x)


def rnn_step(x: Any, h: Any, w: Any, u: Any, b: Any, c: Any) -> Any:
    return np.tanh(x @ w.T + b + h @ u.T + c)


def gru_step(x: Any, h: Any, w: Any, u: Any, b: Any, c: Any) -> Any:
    (xr, xz, xn), (hr, hz, hn) = np.split(x @ w.T + b, 3, -1), np.split(h @ u.T + c, 3, -1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + r * hn) + z * h


def lstm_step(x: Any, state: Any, w: Any, u: Any, b: Any, c: Any) -> Any:
    h, cell = state
    i, f, g, o = np.split(x @ w.T + b + h @ u.T + c, 4, -1)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def over_time(step: Callable[..., Any], x: np.ndarray, state: dict[str, Any], end: str) -> Any:
    """[time, batch, hidden] and the last state, of one layer in one direction."""
    weights = [state[n + end] for n in NAMES]
    zeros = np.zeros((x.shape[1], weights[1].shape[1]))
    h: Any = (zeros, zeros) if step is lstm_step else zeros
    outs = []
    for row in x[::-1] if end.endswith("reverse") else x:
        h = step(row, h, *weights)
        outs.append(h[0] if step is lstm_step else h)
    return np.stack(outs[::-1] if end.endswith("reverse") else outs), h


def stacked(step: Callable[..., Any], layers: int, both: bool) -> Callable[..., Any]:
    def reference(x: np.ndarray, **state: Any) -> Any:
        lasts = []
        for layer in range(layers):
            found = [over_time(step, x, state, f"_l{layer}{way}")
                     for way in (("", "_reverse") if both else ("",))]  # fmt: skip
            x = np.concatenate([f[0] for f in found], -1)
            lasts += [f[1] for f in found]
        if step is lstm_step:
            return x, np.stack([h for h, _ in lasts]), np.stack([c for _, c in lasts])
        return x, np.stack(lasts)

    return reference


for _name, _step in (("RNN", rnn_step), ("GRU", gru_step), ("LSTM", lstm_step)):
    module(_name, [3, 4], [(5, 2, 3)], stacked(_step, 1, False), label="one layer",
           batch=(1,))  # fmt: skip
    module(_name, [3, 4, 2, {"bidirectional": True}], [(3, 2, 3)], stacked(_step, 2, True),
           label="two ways")  # fmt: skip
    module(f"{_name}Cell", [3, 4], [(2, 3)], lambda x, s=_step, **w: s(
        x, (np.zeros((2, 4)),) * 2 if s is lstm_step else np.zeros((2, 4)),
        *(w[n] for n in NAMES)))  # fmt: skip
    TABLE.wrong(f"nn.{_name}", "features", lambda n=_name: getattr(nn, n)(3, 4)(sley.ones(5, 2, 4)),
                ValueError, "4")  # fmt: skip
    TABLE.wrong(f"nn.{_name}", "hidden size", lambda n=_name: getattr(nn, n)(3, 0), ValueError, "0")
    TABLE.wrong(f"nn.{_name}Cell", "features", lambda n=_name: getattr(nn, f"{n}Cell")(3, 4)(
        sley.ones(2, 5)), ValueError, "5")  # fmt: skip

# -------------------------------------------------------------------------------------- attention

for _name, _args, _inputs in (
    ("MultiheadAttention", [4, 2], [(3, 2, 4)] * 3),
    ("TransformerEncoderLayer", [4, 2, 8], [(3, 2, 4)]),
    ("TransformerDecoderLayer", [4, 2, 8], [(3, 2, 4), (5, 2, 4)]),
    ("Transformer", [4, 2, 1, 1, 8], [(3, 2, 4), (2, 2, 4)]),
):  # fmt: skip
    module(_name, _args, _inputs, None, batch=(1,) * len(_inputs))
for _name, _inputs in (("Encoder", [(3, 2, 4)]), ("Decoder", [(3, 2, 4), (5, 2, 4)])):
    sley.manual_seed(7)
    _layer = getattr(nn, f"Transformer{_name}Layer")(4, 2, 8)
    module(f"Transformer{_name}", [_layer, 2], _inputs, None)
for _name, _call in (
    ("Linear", lambda: nn.Linear(3, 5)(sley.ones(2, 4))),
    ("Conv2d", lambda: nn.Conv2d(3, 5, 2)(sley.ones(2, 4, 5, 5))),
    ("BatchNorm2d", lambda: nn.BatchNorm2d(3)(sley.ones(2, 3))),
    ("LayerNorm", lambda: nn.LayerNorm(4)(sley.ones(2, 3))),
    ("MultiheadAttention", lambda: nn.MultiheadAttention(5, 2)),
    ("Dropout", lambda: nn.Dropout(2.0)),
    ("GroupNorm", lambda: nn.GroupNorm(2, 3)),
    ("Conv1d", lambda: nn.Conv1d(3, 4, 2, groups=2)),
    ("Embedding", lambda: nn.Embedding(3, 4, padding_idx=3)),
):
    TABLE.wrong(f"nn.{_name}", "bad", _call, ValueError, "")
