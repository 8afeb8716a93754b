"""Random programs as Python source: functions of tensors as a user writes them, with gradients,
views, in-place writes, indexing and a size that varies.

`program_text(seed)` is the source. Parameters: x [N, 3], y [N, 4] and k [N] (integers below 3) are
arguments; w [3, 4], b [3] and state [3] are captured. No statement is out of its domain at N = 0,
and comparisons are with numbers that no value is near to.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

N = "N"
Shape = tuple[int | str, ...]

PARAMETERS: dict[str, Shape] = {"x": (N, 3), "y": (N, 4), "w": (3, 4), "b": (3,)}
UNARY = (
    "{}.tanh()", "{}.sin()", "{}.sigmoid()", "({} * 0.5).exp()", "({}.abs() + 1.0).log()",
    "({} * {} + 0.5).sqrt()", "{}.clamp(min=0.0137)", "-{}", "{}.erf()", "{}.square()",
    "1.0 / ({}.square() + 1.0)", "{}.abs()", "({}.square() + 1.0).rsqrt()", "F.gelu({})",
)  # fmt: skip
BINARY = (
    "{} + {}", "{} - {}", "{} * {}", "{} / ({}.square() + 1.0)", "maximum({}, {} * 0.93)",
    "minimum({}, {} * 0.93)", "where({} > 0.1371, {}, 0.25)", "{}.lerp({}, 0.3)",
)  # fmt: skip
WRITES = (
    "{}[..., 1:] = {scalar}", "{}[..., 0].mul_(1.5)", "{}[..., ::2] += {scalar}",
    "{}.add_({scalar})", "{}[..., -1] -= {}[..., 0].clone()", "{}.flatten().clone().mul_(2.0)",
    "{}.unsqueeze(0)[0, ..., 1].sub_({scalar})", "{}[{} > 0.2173] = {scalar}",
    "{}[...] = {}.clone().sin()",
)  # fmt: skip


WINDOWS = (
    ("F.conv1d({}.unsqueeze(1), b.reshape(1, 1, 3), padding=1).squeeze(1) * 0.5", 0),
    ("F.conv1d({}.unsqueeze(1), w[:, :2].reshape(3, 1, 2)).sum(1) * 0.3", 1),
    ("F.conv1d({}.unsqueeze(1), b.reshape(1, 1, 3), dilation=2, padding=2).squeeze(1)", 0),
    ("F.avg_pool1d({}.unsqueeze(1), 2, stride=1).squeeze(1)", 1),
    ("F.max_pool1d({}.unsqueeze(1), 2, stride=1).squeeze(1)", 1),
    ("({}.double() * 0.7).sin().float()", 0),
)


@dataclass(frozen=True)
class Known:
    """A float tensor that a statement may use."""

    name: str
    shape: Shape


class Writer:
    """Writes the statements of one program, and follows the shapes."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.windows = random.Random(-1 - seed)  # of its own: the other statements stay
        self.known = [Known(n, s) for n, s in PARAMETERS.items()]
        self.lines: list[str] = []
        self.made = 0

    def text(self, statements: int) -> str:
        kinds: list[Callable[[], None]] = [
            self.unary, self.unary, self.binary, self.binary, self.reduction, self.reduction,
            self.row, self.view, self.view, self.product, self.indexing, self.write, self.write,
            self.joined, self.repeated, self.buffer,
        ]  # fmt: skip
        while len(self.lines) < statements:
            self.rng.choice(kinds)()
        self.window()
        self.finish()
        body = "\n".join(f"    {line}" for line in self.lines)
        return f"def program(x, y, k):\n{body}\n"

    # Helpers

    def pick(self, fits: Callable[[Known], bool] = lambda v: True) -> Known | None:
        """A value that fits, rather a late one."""
        found = [v for v in self.known if fits(v)]
        return self.rng.choice(found[-6:]) if found else None

    def add(self, expression: str, shape: Shape) -> Known:
        self.made += 1
        new = Known(f"v{self.made}", shape)
        self.lines.append(f"{new.name} = {expression}")
        self.known.append(new)
        return new

    def scalar(self) -> str:
        return self.rng.choice(("0.5", "-0.25", "b.sum()", "x.sum()", "w[0, 1]"))

    # Statements

    def unary(self) -> None:
        if a := self.pick():
            self.add(self.rng.choice(UNARY).replace("{}", a.name), a.shape)

    def binary(self) -> None:
        a = self.pick()
        b = self.pick(lambda v: a is not None and broadcast(a.shape, v.shape) is not None)
        if a and b:
            shape = broadcast(a.shape, b.shape)
            assert shape is not None
            self.add(self.rng.choice(BINARY).format(a.name, b.name), shape)

    def reduction(self) -> None:
        a = self.pick(lambda v: len(v.shape) > 0)
        if a is None:
            return
        axis = self.rng.randrange(len(a.shape))
        rest = a.shape[:axis] + a.shape[axis + 1 :]
        names = ["sum"] if a.shape[axis] == N else ["sum", "mean", "amax", "amin", "var"]
        name = self.rng.choice(names)
        if name == "var" and a.shape[axis] == 1:
            return
        if self.rng.random() < 0.4:
            shape = (*a.shape[:axis], 1, *a.shape[axis + 1 :])
            self.add(f"{a.name}.{name}({axis}, keepdim=True)", shape)
        else:
            self.add(f"{a.name}.{name}({axis})", rest)

    def row(self) -> None:
        a = self.pick(lambda v: len(v.shape) > 0 and v.shape[-1] != N)
        if a:
            forms = ("F.softmax({}, -1)", "F.log_softmax({}, -1)", "{}.cumsum(-1)",
                     "F.layer_norm({}, ({}.shape[-1],))")  # fmt: skip
            self.add(self.rng.choice(forms).replace("{}", a.name), a.shape)

    def view(self) -> None:
        a = self.pick(lambda v: len(v.shape) > 0)
        if a:
            text, shape = self.rng.choice(list(views(a.shape)))
            self.add(text.format(a.name), shape)

    def product(self) -> None:
        a = self.pick(lambda v: len(v.shape) == 2)
        if a is None:
            return
        b = self.pick(lambda v: len(v.shape) in (1, 2) and v.shape[0] == a.shape[1])
        if b:
            self.add(f"({a.name} @ {b.name}) * 0.5", (a.shape[0], *b.shape[1:]))

    def indexing(self) -> None:
        a = self.pick(lambda v: len(v.shape) == 2 and v.shape[0] == 3)
        rows = self.pick(lambda v: v.shape == (N, 3))
        choice = self.rng.random()
        if a and choice < 0.4:
            self.add(f"{a.name}[k]", (N, a.shape[1]))
        elif a and choice < 0.7:
            self.add(f"{a.name}.index_select(0, k)", (N, a.shape[1]))
        elif rows and choice < 0.9:
            self.add(f"{rows.name}.gather(1, k.unsqueeze(1))", (N, 1))
        elif rows:
            zeros = f"({rows.name}.sum(0) * 0.0)"
            self.add(f"{zeros}.index_add(0, k, {rows.name}.sum(1))", (3,))

    def write(self) -> None:
        a = self.pick(lambda v: len(v.shape) > 0 and v.shape[-1] in (3, 4))
        if a is None:
            return
        copy = self.add(f"{a.name}.clone()", a.shape)
        for _ in range(self.rng.randint(1, 2)):
            form = self.rng.choice(WRITES).replace("{scalar}", self.scalar())
            self.lines.append(form.replace("{}", copy.name))
        if len(a.shape) == 2 and self.rng.random() < 0.4:
            view = f"t{self.made}"
            self.lines.append(f"{view} = {copy.name}.t()")
            self.lines.append(f"{copy.name}[..., 0] = {self.scalar()}")
            self.lines.append(f"{view}[1].add_(0.5)")
            self.known.append(Known(view, a.shape[::-1]))

    def joined(self) -> None:
        a = self.pick(lambda v: len(v.shape) > 0)
        b = self.pick(lambda v: a is not None and v.shape == a.shape)
        if not (a and b):
            return
        if self.rng.random() < 0.5:
            self.add(f"stack([{a.name}, {b.name}], 0)", (2, *a.shape))
        elif isinstance(size := a.shape[-1], int):
            self.add(f"cat([{a.name}, {b.name}], -1)", (*a.shape[:-1], 2 * size))

    def repeated(self) -> None:
        a = self.pick(lambda v: len(v.shape) > 0)
        if a:
            copy = self.add(f"{a.name} * 0.7", a.shape)
            self.lines.append(f"for i in range({self.rng.randint(2, 3)}):")
            self.lines.append(f"    {copy.name} = ({copy.name} + i * 0.1).tanh() + {a.name}")

    def window(self) -> None:
        """A convolution, pooling, or a detour through another dtype, of a late value's rows."""
        found = [v for v in self.known if len(v.shape) == 2 and v.shape[1] != N and v.shape[1] >= 3]
        a = self.windows.choice(found[-4:])
        text, less = self.windows.choice(WINDOWS)
        self.add(text.replace("{}", a.name), (a.shape[0], a.shape[1] - less))

    def buffer(self) -> None:
        a = self.pick(lambda v: v.shape == (N, 3))
        if a:
            self.lines.append("with no_grad():")
            self.lines.append(f"    state.mul_(0.5).add_({a.name}.detach().sum(0))")
            self.add("b * state.clone()", (3,))

    def finish(self) -> None:
        """A loss of the last values, its gradients, and what is returned."""
        last = self.known[-4:]
        parts = [f"({v.name} * 0.3).tanh().sum()" for v in last]
        self.lines.append(f"loss = {' + '.join(parts)} + (w * 0.1).sum() + x.sum() + b.sum()")
        if self.rng.random() < 0.2:
            self.lines.append("(slope,) = grad(loss, [w], create_graph=True)")
            self.lines.append("loss = loss + (slope * slope).sum() * 0.1")
        self.lines.append("loss.backward()")
        names = [v.name for v in last]
        self.lines.append(f"return loss, {', '.join(names)}")


def broadcast(a: Shape, b: Shape) -> Shape | None:
    """The shape of both together; None where they do not fit. N is no 1."""
    if len(a) < len(b):
        a, b = b, a
    b = (1,) * (len(a) - len(b)) + b
    joined: list[int | str] = []
    for m, n in zip(a, b, strict=True):
        if m != n and 1 not in (m, n):
            return None
        joined.append(n if m == 1 else m)
    return tuple(joined)


def views(shape: Shape) -> Iterator[tuple[str, Shape]]:
    """(expression, shape of it) of each view that a tensor of this shape has."""
    rank, last = len(shape), shape[-1]
    yield "{}.unsqueeze(-1)", (*shape, 1)
    yield "{}.flip(0)", shape
    if rank < 3:
        yield "{}.expand(2, *{0}.shape)".replace("{}", "{0}"), (2, *shape)
    if rank == 2:
        yield "{}.t()", shape[::-1]
        yield "{}.reshape(-1)[1:].sum()", ()
    if rank == 3:
        yield "{}.permute(2, 0, 1)", (shape[2], shape[0], shape[1])
    if shape[0] == N:
        yield "{}[1:].sum(0)", shape[1:]
        yield "{}[-2:].sum(0)", shape[1:]
        yield "{}[::2].flip(0).sum(0)", shape[1:]
    if isinstance(last, int) and last > 1:
        yield "{}[..., 1:]", (*shape[:-1], last - 1)
        yield "{}[..., 0]", shape[:-1]
        yield "{}[..., ::2]", (*shape[:-1], (last + 1) // 2)
        yield "{}.roll(1, -1)", shape
        yield "F.pad({}, (1, 2))", (*shape[:-1], last + 3)


def program_text(seed: int) -> str:
    """The source of `def program(x, y, k)`; equal seeds give equal text."""
    writer = Writer(seed)
    return writer.text(writer.rng.randint(4, 12))
