"""The function of a kernel: parameters, loops, and a line or two for every other node."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dims import Atom, Dim, Slot, Symbol
from ....ir.graph import Graph, Node, Region, Value
from ....ir.kernel_symbols import kernel_symbols
from ....ir.ops import Kind
from ....ir.target import Target
from . import matrix
from .elementwise import emit_elementwise
from .indices import Indices, splat
from .memory import AliasScopes, Memory, scratch_layout
from .writer import Writer, literal, llvm_type, shaped

UNROLLED = 16  # turns of a loop that LLVM may write out; longer ones have vectors enough in a turn


def scratch_bytes(loops: Graph) -> Dim:
    """Bytes of scratch memory that a call of the kernel needs, over its size symbols."""
    return scratch_layout(loops)[1]


def emit(loops: Graph, symbol: str, target: Target, sizes: Sequence[str] | None = None) -> str:
    """The LLVM module that defines `void symbol(ptr args, i64 lo, i64 hi, ptr scratch)`.

    `sizes` names the size symbols in the order of their argument slots, `kernel_symbols(loops)` by
    default. The text depends on nothing but the arguments.

    Raises:
        NotImplementedError: an op that has no rule.
    """
    if sizes is None:
        sizes = kernel_symbols(loops)
    return _Function(loops, symbol, target, sizes).text()


class _Function:
    def __init__(self, loops: Graph, symbol: str, target: Target, sizes: Sequence[str]) -> None:
        self.loops = loops
        self.symbol = symbol
        self.w = Writer(target)
        self.names: dict[Value, str] = {}
        self.sizes: dict[str, str] = {}
        self.operands: tuple[Value, ...] = ()
        self.loop_metadata: list[str] = []
        self.size_names = sizes
        self.offsets, _ = scratch_layout(loops)
        self.scopes = AliasScopes(loops, list(self.offsets))
        self.indices = Indices(self.w, self._lookup)
        self.memory = Memory(self.w, self.indices, self.names, self.scopes)

    def text(self) -> str:
        self._parameters()
        tiles = any(node.op.name == "tile_product" for node in self.loops.walk())
        if tiles:
            matrix.begin(self.w)
        self._region(self.loops)
        if tiles:
            matrix.end(self.w)
        self.w.line("ret void")
        head = (
            f"define void @{self.symbol}(ptr noalias nocapture readonly %args, i64 %lo, i64 %hi, "
            "ptr noalias %scratch) nounwind {"
        )
        parts = [
            *self.w.definitions,
            "\n".join([head, "entry:", self.w.text(), "}"]),
            "\n".join(self.w.declarations),
            "\n".join([*self.scopes.metadata(), *self.loop_metadata]),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _parameters(self) -> None:
        w = self.w
        for k, param in enumerate(self.loops.params):
            slot = w.op(f"getelementptr inbounds ptr, ptr %args, i64 {k}")
            self.names[param] = w.here(f"load ptr, ptr {slot}, align 8, !invariant.load !1")
        for k, name in enumerate(self.size_names, len(self.loops.params)):
            slot = w.op(f"getelementptr inbounds ptr, ptr %args, i64 {k}")
            self.sizes[name] = w.here(f"load i64, ptr {slot}, align 8, !invariant.load !1")
        for value, offset in self.offsets.items():
            index = self.indices.scalar(offset)
            text = f"getelementptr inbounds i8, ptr %scratch, i64 {index}"
            self.names[value] = w.op(text)

    def _lookup(self, atom: Atom) -> tuple[str, int | None]:
        if isinstance(atom, Symbol):
            return self.sizes[atom.name], None
        assert isinstance(atom, Slot), f"{atom} in a loop-level graph"
        value = self.operands[atom.position]
        lanes = value.type.shape[0] if value.type.shape else None
        assert lanes is None or isinstance(lanes, int)
        return self.names[value], lanes

    # ------------------------------------------------------------------ nodes

    def _region(self, region: Region) -> None:
        for node in region.nodes:
            self._node(node)

    def _node(self, node: Node) -> None:
        self.operands = node.operands
        name = node.op.name
        if name == "for":
            self._for(node)
        elif name == "if":
            self._if(node)
        elif name == "store":
            self.memory.store(node)
        elif name == "prefetch":
            self.memory.prefetch(node)
        elif name == "tile_product":
            matrix.tile_product(self.w, node, lambda value: self.names[value])
        elif name == "alloc":
            return  # its address was computed at the entry
        else:
            self.names[node.results[0]] = self._value(node)

    def _value(self, node: Node) -> str:
        if node.op.kind is Kind.ELEMENTWISE:
            return emit_elementwise(self.w, node, [self.names[v] for v in node.operands])
        rule = getattr(self, f"_emit_{node.op.name}", None)
        if rule is None:
            raise NotImplementedError(f"the LLVM backend has no rule for the op {node.op.name}")
        return rule(node)

    def _emit_load(self, node: Node) -> str:
        return self.memory.load(node)

    def _emit_pick(self, node: Node) -> str:
        return self.memory.pick(node)

    def _emit_constant(self, node: Node) -> str:
        return literal(node.results[0].type.dtype, node.attrs["value"].array)

    def _emit_index(self, node: Node) -> str:
        shape = node.results[0].type.shape
        if not shape:
            return self.indices.scalar(node.attrs["expr"])
        return self.indices.vector(node.attrs["expr"], _lanes(node.results[0]))

    def _emit_splat(self, node: Node) -> str:
        type_ = llvm_type(node.operands[0].type.dtype)
        return splat(self.w, type_, node.attrs["lanes"], self.names[node.operands[0]])

    def _emit_lanes(self, node: Node) -> str:
        lanes, base = node.attrs["lanes"], self.names[node.operands[0]]
        steps = "<" + ", ".join(f"i64 {k}" for k in range(lanes)) + ">"
        if base == "0":
            return steps
        return self.w.binary("add", "i64", lanes, splat(self.w, "i64", lanes, base), steps)

    def _emit_mask(self, node: Node) -> str:
        lanes = node.attrs["lanes"]
        base, bound = (self.names[v] for v in node.operands)
        # 32 bits are enough for what is left of the axis, and half as many registers.
        left = self.w.binary("sub", "i64", None, bound, base)
        left = self.w.intrinsic("smax", "i64", None, left, "0")
        left = self.w.intrinsic("smin", "i64", None, left, str(lanes))
        short = self.w.convert("trunc", left, "i64", "i32", None)
        steps = "<" + ", ".join(f"i32 {k}" for k in range(lanes)) + ">"
        return self.w.binary("icmp slt", "i32", lanes, steps, splat(self.w, "i32", lanes, short))

    def _emit_extract(self, node: Node) -> str:
        source = node.operands[0]
        full = llvm_type(source.type.dtype, _lanes(source))
        return self.w.op(f"extractelement {full} {self.names[source]}, i64 {node.attrs['lane']}")

    def _emit_low(self, node: Node) -> str:
        return self._shuffle(node, range(_lanes(node.results[0])))

    def _emit_high(self, node: Node) -> str:
        lanes = _lanes(node.results[0])
        return self._shuffle(node, range(lanes, 2 * lanes))

    def _emit_join(self, node: Node) -> str:
        return self._shuffle(node, range(_lanes(node.results[0])))

    def _emit_shuffle(self, node: Node) -> str:
        return self._shuffle(node, node.attrs["lanes"])

    def _shuffle(self, node: Node, picked: Sequence[int]) -> str:
        first, last = node.operands[0], node.operands[-1]
        full = llvm_type(first.type.dtype, _lanes(first))
        lanes = ", ".join(f"i32 {k}" for k in picked)
        other = self.names[last] if len(node.operands) == 2 else "poison"
        return self.w.op(
            f"shufflevector {full} {self.names[first]}, {full} {other}, "
            f"<{len(picked)} x i32> <{lanes}>"
        )

    def _emit_fma(self, node: Node) -> str:
        type_ = node.results[0].type
        name = "fma" if self.w.target.fma else "fmuladd"
        lanes = _lanes(node.results[0]) if type_.shape else None
        return self.w.intrinsic(
            name, llvm_type(type_.dtype), lanes, *(self.names[v] for v in node.operands)
        )

    # ------------------------------------------------------------------ control

    def _for(self, node: Node) -> None:
        """Tested at the end, behind a test that there is a turn at all."""
        w, (body,) = self.w, node.regions
        carries = node.attrs["carries"]
        start = [self.names[v] for v in node.operands[:carries]]
        lo, hi, step = node.attrs["lo"], node.attrs["hi"], node.attrs["step"]
        if node.attrs.get("parallel"):
            low, high = "%lo", "%hi"
        else:
            low, high = self.indices.scalar(lo), self.indices.scalar(hi)
        if isinstance(hi - lo, int) and 0 < hi - lo <= step and not node.attrs.get("parallel"):
            self._single_turn(node, low, start)
            return
        known = isinstance(hi - lo, int) and hi - lo > 0 and not node.attrs.get("parallel")
        once = None if known else w.binary("icmp slt", "i64", None, low, high)
        before, label, after = w.label, w.name("loop"), w.name("done")
        phis: list[str] = []
        short = isinstance(hi - lo, int) and hi - lo <= UNROLLED * step
        unrolled = short and node.attrs.get("unroll") != 1
        with w.loop(unrolled):
            if once is None:
                w.line(f"br label %{label}")
            else:
                w.line(f"br i1 {once}, label %{label}, label %{after}")
            w.block(label)
            w.lines.append(phis)
            variable, *inside = (w.register() for _ in body.params)
            self.names.update(zip(body.params, (variable, *inside), strict=True))
            self._region(body)
            ends = [self.names[v] for v in body.yields]
            turned = w.binary("add nsw", "i64", None, variable, str(step))
            # A test for equality stays as it is; another one would keep the variable alive.
            test = "icmp ne" if (hi - lo) % step == 0 else "icmp slt"
            more = w.binary(test, "i64", None, turned, high)
            tag = "" if unrolled else self._rolled()
            w.line(f"br i1 {more}, label %{label}, label %{after}{tag}")
        last = w.label
        types = [_full_type(v) for v in body.params]
        for type_, register, first, again in zip(
            types, (variable, *inside), (low, *start), (turned, *ends), strict=True
        ):
            phis.append(f"  {register} = phi {type_} [ {first}, %{before} ], [ {again}, %{last} ]")
        w.block(after)
        for result, first, end in zip(node.results, start, ends, strict=True):
            type_ = _full_type(result)
            came = "" if once is None else f"[ {first}, %{before} ], "
            self.names[result] = w.here(f"phi {type_} {came}[ {end}, %{last} ]")

    def _rolled(self) -> str:
        """What the jump back of a loop carries that is not to be unrolled."""
        first = self.scopes.end + len(self.loop_metadata)
        self.loop_metadata += [
            f"!{first} = distinct !{{!{first}, !{first + 1}}}",
            f'!{first + 1} = !{{!"llvm.loop.unroll.disable"}}',
        ]
        return f", !llvm.loop !{first}"

    def _single_turn(self, node: Node, low: str, start: list[str]) -> None:
        (body,) = node.regions
        self.names.update(zip(body.params, (low, *start), strict=True))
        self._region(body)
        for result, value in zip(node.results, body.yields, strict=True):
            self.names[result] = self.names[value]

    def _if(self, node: Node) -> None:
        w = self.w
        inside, after = w.name("then"), w.name("after")
        w.line(f"br i1 {self.names[node.operands[0]]}, label %{inside}, label %{after}")
        w.block(inside)
        with w.branch():
            self._region(node.regions[0])
        w.line(f"br label %{after}")
        w.block(after)


def _lanes(value: Value) -> int:
    lanes = value.type.shape[0]
    assert isinstance(lanes, int)
    return lanes


def _full_type(value: Value) -> str:
    lanes = _lanes(value) if value.type.shape else None
    return shaped(llvm_type(value.type.dtype), lanes)
