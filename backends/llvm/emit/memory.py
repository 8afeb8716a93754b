"""Loads, stores and scratch.

Alias metadata: a scratch buffer overlaps nothing. An output may share the memory of an input of its
size (it is then written element by element after that element was read), so only buffers of
different sizes, and outputs among themselves, are said not to overlap.
"""

from __future__ import annotations

from ....ir.access import flat_offset
from ....ir.dims import Dim, lower, upper
from ....ir.graph import Graph, Node, Value
from ....ir.types import TensorType
from .indices import Indices, splat
from .writer import Writer, llvm_type, overload, shaped

ALIGNMENT = 64  # of scratch buffers, in bytes


def scratch_layout(loops: Graph) -> tuple[dict[Value, Dim], Dim]:
    """(offset in bytes of each `alloc`, bytes of all of them), over size symbols."""
    offsets: dict[Value, Dim] = {}
    end: Dim = 0
    for node in loops.walk():
        if node.op.name == "alloc":
            offsets[node.results[0]] = end
            end = end + (node.results[0].type.nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    return offsets, end


class AliasScopes:
    """The metadata that says which of the buffers that are accessed by name do not overlap."""

    def __init__(self, loops: Graph, scratch: list[Value]) -> None:
        named = {n.operands[0] for n in loops.walk() if n.op.name in ("load", "store")}
        self.buffers = [v for v in (*loops.params, *scratch) if v in named]
        self.slots = {param: k for k, param in enumerate(loops.params)}
        self.outs = set(loops.out_params)
        self.number = {buffer: k for k, buffer in enumerate(self.buffers)}
        self.scratch = set(scratch)

    def _apart(self, a: Value, b: Value) -> bool:
        if a is b or not (a in self.outs or b in self.outs or {a, b} & self.scratch):
            return False
        if {a, b} & self.scratch or (a in self.outs and b in self.outs):
            return True
        return a.type.nbytes != b.type.nbytes

    def tag(self, buffer: Value) -> str:
        """What an access to `buffer` carries: nothing where it is not known which one it is."""
        if buffer not in self.number:
            return ""
        k = self.number[buffer]
        return f", !alias.scope !{2 + 2 * k}, !noalias !{3 + 2 * k}"

    @property
    def end(self) -> int:
        """The first number of metadata that is free."""
        return 2 + 3 * len(self.buffers)

    def metadata(self) -> list[str]:
        """The definitions at the end of the module; !0 is the domain, !1 is empty."""
        count = len(self.buffers)
        scope = [f"!{2 + 2 * count + k}" for k in range(count)]
        lines = ['!0 = !{!"kernel"}', "!1 = !{}"]
        for k, buffer in enumerate(self.buffers):
            others = [scope[j] for j, b in enumerate(self.buffers) if self._apart(buffer, b)]
            lines.append(f"!{2 + 2 * k} = !{{{scope[k]}}}")
            lines.append(f"!{3 + 2 * k} = !{{{', '.join(others)}}}")
        lines += [f'{name} = !{{!"b{k}", !0}}' for k, name in enumerate(scope)]
        return lines


class Memory:
    """Writes the accesses of a loop-level graph."""

    def __init__(
        self, writer: Writer, indices: Indices, names: dict[Value, str], scopes: AliasScopes
    ) -> None:
        self.w = writer
        self.indices = indices
        self.names = names
        self.scopes = scopes

    def load(self, node: Node) -> str:
        type_ = node.results[0].type
        memory = llvm_type(type_.dtype, _lanes(type_), memory=True)
        guard = self.names[node.operands[-1]] if node.attrs.get("guarded") else None
        if not type_.shape:
            text = self._scalar_load(node, memory, guard)
        elif node.attrs.get("lanes"):
            text = self._contiguous_load(node, memory, guard)
        else:
            text = self._gather(node, memory, guard)
        return self._from_memory(type_, text)

    def store(self, node: Node) -> None:
        type_ = node.operands[1].type
        memory = llvm_type(type_.dtype, _lanes(type_), memory=True)
        value = self._to_memory(type_, self.names[node.operands[1]])
        guard = self.names[node.operands[-1]] if node.attrs.get("guarded") else None
        if not type_.shape:
            self._scalar_store(node, memory, value, guard)
        elif node.attrs.get("lanes"):
            self._contiguous_store(node, memory, value, guard)
        else:
            self._scatter(node, memory, value, guard)

    def pick(self, node: Node) -> str:
        """The address of one of several parameters, from their argument slots."""
        w, buffers = self.w, node.operands[1:]
        slots = ", ".join(f"i64 {self.scopes.slots[v]}" for v in buffers)
        table = f"@sley.slots.{len(w.definitions)}"
        kind = f"[{len(buffers)} x i64]"
        w.definitions[f"{table} = internal constant {kind} [{slots}], align 8"] = None
        number = self.names[node.operands[0]]
        place = w.op(f"getelementptr inbounds i64, ptr {table}, i64 {number}")
        slot = w.here(f"load i64, ptr {place}, align 8, !invariant.load !1")
        address = w.op(f"getelementptr inbounds ptr, ptr %args, i64 {slot}")
        return w.here(f"load ptr, ptr {address}, align 8, !invariant.load !1")

    def prefetch(self, node: Node) -> None:
        pointer, _ = self._pointer(node)
        use = "1" if node.attrs.get("writes") else "0"
        arguments = [("ptr", pointer), ("i32", use), ("i32", "3"), ("i32", "1")]
        self.w.call("llvm.prefetch.p0", "void", arguments)

    # ------------------------------------------------------------------ forms

    def _offset(self, node: Node) -> Dim:
        return flat_offset(node.operands[0].type, node.attrs["index"])

    def _pointer(self, node: Node) -> tuple[str, int]:
        """(address of a scalar or contiguous access, alignment)."""
        buffer = node.operands[0]
        element = llvm_type(buffer.type.dtype, memory=True)
        offset = self._offset(node)
        align = buffer.type.dtype.itemsize
        base = self.names[buffer]
        if offset == 0:
            return base, ALIGNMENT if buffer in self.scopes.scratch else align
        # Not inbounds: what is added last may lead back into the buffer.
        for step in self.indices.steps(offset):
            if not step.startswith("%") or self.w.is_unrolled(step):
                base = self._settled(base)
            base = self.w.op(f"getelementptr {element}, ptr {base}, i64 {step}")
        return base, align

    def _settled(self, pointer: str) -> str:
        """The same address, which LLVM's loop passes take as it is. Else they would weigh for each
        of many accesses at known distances from it, how its address might come about, for half of
        the time that all of LLVM takes."""
        if self.w.depth(pointer) == 0:
            return pointer
        return self.w.call("llvm.launder.invariant.group.p0", "ptr", [("ptr", pointer)])

    def _pointers(self, node: Node, lanes: int) -> str:
        buffer = node.operands[0]
        element = llvm_type(buffer.type.dtype, memory=True)
        uniform, varying = self.indices.split(self._offset(node))
        base = self.names[buffer]
        for step in self.indices.steps(uniform):
            base = self.w.op(f"getelementptr {element}, ptr {base}, i64 {step}")
        index, width = self.indices.vector(varying, lanes), "i64"
        low, high = lower(varying), upper(varying)
        if isinstance(low, int) and isinstance(high, int) and -(1 << 31) <= low <= high < 1 << 31:
            # Gathers by a scalar address and 32-bit offsets take half the instructions.
            index, width = self.w.convert("trunc", index, "i64", "i32", lanes), "i32"
        return self.w.op(f"getelementptr {element}, ptr {base}, <{lanes} x {width}> {index}")

    def _scalar_load(self, node: Node, memory: str, guard: str | None) -> str:
        pointer, align = self._pointer(node)
        if guard is not None:
            self.w.definitions["@sley.zero = internal constant i64 0, align 8"] = None
            pointer = self.w.select(guard, "ptr", None, pointer, "@sley.zero")
            return self.w.here(f"load {memory}, ptr {pointer}, align {align}")
        return self.w.here(f"load {memory}, ptr {pointer}, align {align}{self._tag(node)}")

    def _scalar_store(self, node: Node, memory: str, value: str, guard: str | None) -> None:
        w = self.w
        pointer, align = self._pointer(node)
        text = f"store {memory} {value}, ptr {pointer}, align {align}{self._tag(node)}"
        if guard is None:
            w.line(text)
            return
        inside, after = w.name("then"), w.name("after")
        w.line(f"br i1 {guard}, label %{inside}, label %{after}")
        w.block(inside)
        w.line(text)
        w.line(f"br label %{after}")
        w.block(after)

    def _contiguous_load(self, node: Node, memory: str, guard: str | None) -> str:
        pointer, align = self._pointer(node)
        if guard is None:
            return self.w.here(f"load {memory}, ptr {pointer}, align {align}{self._tag(node)}")
        name = f"llvm.masked.load.{self._spelled(node.results[0].type)}.p0"
        mask = shaped("i1", _lanes(node.results[0].type))
        arguments = [
            (f"ptr align {align}", pointer), (mask, guard), (memory, "zeroinitializer"),
        ]  # fmt: skip
        return self._masked_call(name, memory, arguments, self._tag(node))

    def _contiguous_store(self, node: Node, memory: str, value: str, guard: str | None) -> None:
        pointer, align = self._pointer(node)
        if guard is None:
            text = f"store {memory} {value}, ptr {pointer}, align {align}{self._tag(node)}"
            self.w.line(text)
            return
        type_ = node.operands[1].type
        name = f"llvm.masked.store.{self._spelled(type_)}.p0"
        lanes = _lanes(type_)
        assert lanes is not None
        if self.w.target.masks and type_.dtype.itemsize < 8 and llvm_type(type_.dtype)[0] == "i":
            guard = self._unknown(guard, lanes)
        arguments = [
            (memory, value), (f"ptr align {align}", pointer), (shaped("i1", lanes), guard),
        ]  # fmt: skip
        self._masked_call(name, "void", arguments, self._tag(node))

    def _unknown(self, guard: str, lanes: int) -> str:
        """The same mask, of which LLVM cannot know that it is one of a single lane: a store of one
        integer that was cut from a wider one would write the wider one (LLVM 22, AVX-512)."""
        true = splat(self.w, "i1", lanes, self.w.op('call i1 asm "", "=r,0"(i1 true)'))
        return self.w.op(f"and {shaped('i1', lanes)} {guard}, {true}")

    def _gather(self, node: Node, memory: str, guard: str | None) -> str:
        type_ = node.results[0].type
        lanes = _lanes(type_)
        assert lanes is not None
        pointers = self._pointers(node, lanes)
        name = f"llvm.masked.gather.{self._spelled(type_)}.v{lanes}p0"
        align = type_.dtype.itemsize
        arguments = [
            (f"<{lanes} x ptr> align {align}", pointers),
            (f"<{lanes} x i1>", guard or splat(self.w, "i1", lanes, "true")),
            (memory, "zeroinitializer"),
        ]
        return self._masked_call(name, memory, arguments, self._tag(node))

    def _scatter(self, node: Node, memory: str, value: str, guard: str | None) -> None:
        type_ = node.operands[1].type
        lanes = _lanes(type_)
        assert lanes is not None
        pointers = self._pointers(node, lanes)
        name = f"llvm.masked.scatter.{self._spelled(type_)}.v{lanes}p0"
        align = type_.dtype.itemsize
        arguments = [
            (memory, value),
            (f"<{lanes} x ptr> align {align}", pointers),
            (f"<{lanes} x i1>", guard or splat(self.w, "i1", lanes, "true")),
        ]
        self._masked_call(name, "void", arguments, self._tag(node))

    def _masked_call(
        self, name: str, result: str, arguments: list[tuple[str, str]], tail: str
    ) -> str:
        types = ", ".join(t.split(" align ")[0] for t, _ in arguments)
        self.w.declarations[f"declare {result} @{name}({types})"] = None
        text = ", ".join(f"{t} {a}" for t, a in arguments)
        if result == "void":
            self.w.line(f"call void @{name}({text}){tail}")
            return ""
        return self.w.here(f"call {result} @{name}({text}){tail}")

    # ------------------------------------------------------------------ parts

    def _tag(self, node: Node) -> str:
        return self.scopes.tag(node.operands[0])

    def _spelled(self, type: TensorType) -> str:
        return overload(llvm_type(type.dtype, memory=True), _lanes(type))

    def _from_memory(self, type: TensorType, text: str) -> str:
        if type.dtype.kind != "bool":
            return text
        return self.w.convert("trunc", text, "i8", "i1", _lanes(type))

    def _to_memory(self, type: TensorType, text: str) -> str:
        if type.dtype.kind != "bool":
            return text
        return self.w.convert("zext", text, "i1", "i8", _lanes(type))


def _lanes(type: TensorType) -> int | None:
    if not type.shape:
        return None
    lanes = type.shape[0]
    assert isinstance(lanes, int)
    return lanes
