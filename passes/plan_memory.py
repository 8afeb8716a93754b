"""Memory planning: a program of launches -> its `Plan`.

Before: values without an address. After: an order of the launches; for every value an input, a
result's fresh buffer, or a block of the arena; values that may lie over one that dies share its
buffer. A donated result ends in an input's buffer: it is written there at once where nothing else
has to read the old contents and no later step can fail, otherwise copied there at the end. All
copies to inputs come last.

The regions of loops and branches are planned likewise, in the same arena: a turn of a loop reads
what it is handed where that lies, slices included, and writes what it hands on over it or beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..ir.graph import Graph, Node, Region, Value
from ..ir.ops.base import Kind
from ..ir.plan import (
    Block,
    Branch,
    Carry,
    Copy,
    HostCall,
    Launch,
    Loop,
    Place,
    Plan,
    Slice,
    Step,
    WhileLoop,
)
from .buffers import Buffer, Buffers
from .inplace import copies, may_overwrite
from .launch_order import last_uses, launch_order

HOST = (Kind.HOST, Kind.SORT)  # evaluated by numpy; it may fail
PLANNED = ("launch", "scan", "while", "cond")

Draft = Callable[[], Step]  # makes a step once every buffer has its place


def plan_memory(graph: Graph, donated: Mapping[int, int] | None = None) -> Plan:
    """The plan of `graph`, whose nodes are launches, calls of the host and control flow over these.

    Args:
        donated: result number -> input number whose buffer takes the result. The caller promises
            that no other input shares that buffer.

    Raises:
        ValueError: a donation to an input of another type, or two to one input.
    """
    donated = dict(donated or {})
    _check(graph, donated)
    program = Buffers()
    for i, param in enumerate(graph.params):
        program.buffers[param] = Buffer(param.type.nbytes, Place("input", i))
    targets = [
        None if k in donated else Buffer(value.type.nbytes, Place("output", k))
        for k, value in enumerate(graph.yields)
    ]
    drafts = _RegionPlanner(program, graph, donated, targets, top=True).run()
    steps = tuple(draft() for draft in drafts)
    places = {v: program.place(b) for v, b in program.buffers.items()}
    blocks = tuple(Block(b.nbytes, b.first, b.last) for b in program.arena)
    return Plan(graph, steps, places, blocks, donated, program.pointers)


def _check(graph: Graph, donated: Mapping[int, int]) -> None:
    for node in graph.walk():
        if node.op.name not in PLANNED and node.op.kind not in HOST:
            raise ValueError(f"{node.op.name} in @{graph.name} was not fused into a kernel")
    if len(set(donated.values())) != len(donated):
        raise ValueError(f"two results of @{graph.name} are donated to one input: {donated}")
    for result, source in donated.items():
        new, old = graph.yields[result].type, graph.params[source].type
        if new is not old:
            raise ValueError(f"result {result} is {new}, the input {source} donated to it {old}")


class _RegionPlanner:
    """Plans the nodes of a program, or of a region that runs once or turn by turn.

    Attributes:
        over: result number -> number of the parameter in whose buffer it may, or at top must, lie.
        targets: for each result, the buffer where it lies in the end unless it is in `stays`; None
            for the buffer of its parameter.
        stays: the numbers of the results that lie in their parameters' buffers.
    """

    def __init__(
        self,
        program: Buffers,
        region: Region,
        over: Mapping[int, int],
        targets: Sequence[Buffer | None],
        top: bool = False,
    ) -> None:
        self.program = program
        self.buffers = program.buffers
        self.region = region
        self.over = over
        self.targets = targets
        fallible = {node for node in region.nodes if _may_fail(node)} if top else set()
        self.order = launch_order(region, over, fallible)
        self.last = last_uses(self.order)
        positions = (p for p, node in enumerate(self.order) if node in fallible)
        self.last_fallible = max(positions, default=-1)
        self.kept = set(region.yields)
        self.replaced = {region.yields[k]: (k, region.params[i]) for k, i in over.items()}
        self.target: dict[Value, Buffer] = {}
        for value, buffer in zip(region.yields, targets, strict=True):
            if buffer is not None:
                self.target.setdefault(value, buffer)
        self.stays: set[int] = set()
        self.steps: list[Draft] = []

    def run(self) -> list[Draft]:
        saved = self._save_params()
        for position, node in enumerate(self.order):
            if node.op.name == "scan":
                self._scan(position, node)
            elif node.op.name == "while":
                self._while(position, node)
            elif node.op.name == "cond":
                self._cond(position, node)
            else:
                self._call(position, node)
        self._return_results(saved)
        return self.steps

    # ---------------------------------------------------------------- copies around the nodes

    def _copy(self, source: Buffer, target: Buffer) -> None:
        number, place = self.program.number(), self.program.place
        source.touch(number)
        target.touch(number)
        self.steps.append(lambda: Copy(place(source), place(target), source.nbytes))

    def _save_params(self) -> dict[Value, Buffer]:
        """Parameters that are results: their old contents are copied before anything is written.

        Gives the copy of each that is to be moved to another parameter at the end."""
        saved: dict[Value, Buffer] = {}
        for k, value in enumerate(self.region.yields):
            if value.node is not None:
                continue
            target = self.targets[k]
            if k in self.over and self.region.params[self.over[k]] is value:
                self.stays.add(k)
            elif target is not None:
                self._copy(self.buffers[value], target)
            elif value not in saved:
                saved[value] = Buffer(value.type.nbytes)
                self._copy(self.buffers[value], saved[value])
        return saved

    def _return_results(self, saved: Mapping[Value, Buffer]) -> None:
        """Second copies of results, then what is still to be moved to the parameters."""
        moved: list[tuple[Buffer, Buffer]] = []
        for k, value in enumerate(self.region.yields):
            target = self.targets[k]
            if k in self.stays:
                continue
            if target is None:
                param = self.region.params[self.over[k]]
                moved.append((saved.get(value, self.buffers[value]), self.buffers[param]))
            elif value.node is not None and self.buffers[value].real() is not target.real():
                self._copy(self.buffers[value], target)
        for held, target in moved:
            self._copy(held, target)

    # ---------------------------------------------------------------- where results lie

    def _result(
        self, position: int, node: Node, out: int, taken: set[Buffer], reuse: bool = True
    ) -> Buffer:
        """The buffer of result `out`; with `reuse` it may be that of an operand that dies here."""
        value = node.results[out]
        buffer = self._replaced(position, node, out)
        if buffer is None:
            buffer = self._dying(position, node, out, taken) if reuse else None
            buffer = buffer or Buffer(value.type.nbytes)
            if value in self.target:
                buffer.become(self.target[value])
        taken.add(buffer.real())
        self.buffers[value] = buffer
        return buffer

    def _replaced(self, position: int, node: Node, out: int) -> Buffer | None:
        """The buffer of the parameter that result `out` replaces, if it may be written now: nobody
        reads the old contents any more, and no later step of the program can fail."""
        if node.results[out] not in self.replaced:
            return None
        k, old = self.replaced[node.results[out]]
        if self.last.get(old, -1) > position or position <= self.last_fallible:
            return None
        if not _allows(node, old, out):
            return None
        self.stays.add(k)
        return self.buffers[old]

    def _dying(
        self, position: int, node: Node, out: int, taken: set[Buffer]
    ) -> Buffer | None:  # fmt: skip
        """The buffer of an operand that dies here and that result `out` may be written over."""
        value = node.results[out]
        for operand in node.operands:
            buffer = self.buffers[operand].real()
            free = operand.node is not None and operand not in self.kept and buffer not in taken
            if not free or buffer.place is not None or self.last[operand] != position:
                continue
            if operand.type.nbytes == value.type.nbytes and _allows(node, operand, out):
                return buffer
        return None

    # ---------------------------------------------------------------- nodes

    def _call(self, position: int, node: Node) -> None:
        """A launch, or a call of the host."""
        taken: set[Buffer] = set()
        launched = node.op.name == "launch"
        for out in range(len(node.results)):
            self._result(position, node, out, taken, reuse=launched)
        if launched and self._is_there(node):
            return
        number, place = self.program.number(), self.program.place
        buffers = [self.buffers[v] for v in (*node.operands, *node.results)]
        for buffer in buffers:
            buffer.touch(number)
        kind = Launch if launched else HostCall
        self.steps.append(lambda: kind(node, tuple(place(b) for b in buffers)))

    def _is_there(self, node: Node) -> bool:
        """Whether a launch would copy what already lies where its result does: the elements under
        another shape."""
        if len(node.operands) != 1 or len(node.results) != 1:
            return False
        source, target = (self.buffers[v].real() for v in (*node.operands, *node.results))
        return source is target and copies(node.attrs["kernel"])

    def _scan(self, position: int, node: Node) -> None:
        program, (body,) = self.program, node.regions
        consts, carries = node.attrs["consts"], node.attrs["carries"]
        first, place = consts + carries, program.place
        begin = program.number()
        hands = _Hands(self, position, node, consts, carries)
        program.bind(body.params[:first], [*hands.consts, *hands.currents])
        sliced = [
            *((p, self.buffers[x]) for p, x in zip(body.params[first:], node.operands[first:])),
            *((y, None) for y in body.yields[carries:]),
        ]
        pieces = [Buffer(v.type.nbytes, program.pointer()) for v, _ in sliced]
        program.bind(body.params[first:], pieces[: len(body.params) - first])
        ys = pieces[len(body.params) - first :]
        over = {k: consts + k for k in range(carries)}
        inner = _RegionPlanner(program, body, over, [*hands.nexts, *ys])
        drafts = inner.run()
        taken: set[Buffer] = set()
        hands.settle(inner.stays, begin, taken)
        stacked = [
            self._result(position, node, out, taken, reuse=False)
            for out in range(carries, len(node.results))
        ]
        wholes = [*(whole for _, whole in sliced if whole is not None), *stacked]
        self._hold(node, begin)

        def draft() -> Step:
            slices = tuple(
                Slice(place(piece), place(whole), piece.nbytes)
                for piece, whole in zip(pieces, wholes, strict=True)
            )
            steps = tuple(make() for make in drafts)
            attrs = node.attrs
            return Loop(node, attrs["length"], attrs["reverse"], hands.carries(), slices, steps)

        self.steps.append(draft)

    def _while(self, position: int, node: Node) -> None:
        program, (condition, body) = self.program, node.regions
        consts = node.attrs["consts"]
        carries = len(node.operands) - consts
        begin, flag = program.number(), Buffer(condition.yields[0].type.nbytes)
        hands = _Hands(self, position, node, consts, carries)
        for region in node.regions:
            program.bind(region.params, [*hands.consts, *hands.currents])
        tests = _RegionPlanner(program, condition, {}, [flag]).run()
        over = {k: consts + k for k in range(carries)}
        inner = _RegionPlanner(program, body, over, hands.nexts)
        drafts = inner.run()
        hands.settle(inner.stays, begin, set())
        end = self._hold(node, begin)
        flag.touch(begin)
        flag.touch(end)

        def draft() -> Step:
            tested, done = tuple(make() for make in tests), tuple(make() for make in drafts)
            return WhileLoop(node, hands.carries(), tested, program.place(flag), done)

        self.steps.append(draft)

    def _cond(self, position: int, node: Node) -> None:
        program = self.program
        begin = program.number()
        taken: set[Buffer] = set()
        targets = [
            self._result(position, node, out, taken, reuse=False)
            for out in range(len(node.results))
        ]
        drafts = []
        for region in node.regions:
            program.bind(region.params, [self.buffers[v] for v in node.operands[1:]])
            drafts.append(_RegionPlanner(program, region, {}, targets).run())
        self._hold(node, begin)
        flag = self.buffers[node.operands[0]]

        def draft() -> Step:
            then, otherwise = (tuple(make() for make in branch) for branch in drafts)
            return Branch(node, program.place(flag), then, otherwise)

        self.steps.append(draft)

    def _hold(self, node: Node, begin: int) -> int:
        """Takes the number of the end of a loop or branch; operands and results are in use all the
        while."""
        end = self.program.number()
        for value in (*node.operands, *node.results):
            self.buffers[value].touch(begin)
            self.buffers[value].touch(end)
        return end


class _Hands:
    """What a loop hands to its turns: consts, and carries from one to the next.

    Attributes:
        currents, nexts: the buffers from which a turn reads each carry, and to which it writes it.
    """

    def __init__(
        self, outer: _RegionPlanner, position: int, node: Node, consts: int, carries: int
    ) -> None:
        self.outer = outer
        self.position = position
        self.node = node
        self.consts = [outer.buffers[v] for v in node.operands[:consts]]
        self.starts = [outer.buffers[v] for v in node.operands[consts : consts + carries]]
        self.currents = [Buffer(b.nbytes) for b in self.starts]
        self.nexts = [Buffer(b.nbytes) for b in self.starts]
        self.homes: list[Buffer] = []
        self.spares: list[Buffer | None] = []

    def settle(self, stays: set[int], begin: int, taken: set[Buffer]) -> None:
        """Fixes where the carries lie, once it is known which of them a turn writes in place."""
        program = self.outer.program
        for k, (current, next) in enumerate(zip(self.currents, self.nexts, strict=True)):
            home = self.outer._result(self.position, self.node, k, taken, reuse=k in stays)
            self.homes.append(home)
            if k in stays:
                current.become(home)
                self.spares.append(None)
                continue
            current.place, next.place = program.pointer(), program.pointer()
            spare = Buffer(home.nbytes)
            spare.touch(begin)
            spare.touch(program.numbers)  # the number that the end of the loop will have
            self.spares.append(spare)

    def carries(self) -> tuple[Carry, ...]:
        place = self.outer.program.place
        found = []
        for k, (start, home, spare) in enumerate(
            zip(self.starts, self.homes, self.spares, strict=True)
        ):
            ends = (place(start), place(home), home.nbytes)
            if spare is None:
                found.append(Carry(*ends))
            else:
                turn = (place(spare), place(self.currents[k]), place(self.nexts[k]))
                found.append(Carry(*ends, *turn))
        return tuple(found)


def _may_fail(node: Node) -> bool:
    inside = (inner for region in node.regions for inner in region.walk())
    return node.op.kind in HOST or any(inner.op.kind in HOST for inner in inside)


def _allows(node: Node, operand: Value, out: int) -> bool:
    """Whether result `out` may be written over `operand`, in whichever positions it is read."""
    positions = [position for position, value in enumerate(node.operands) if value is operand]
    if node.op.name == "launch":
        kernel = node.attrs["kernel"]
        return all(may_overwrite(kernel, position, out) for position in positions)
    # A loop may write a carry over the operand that it starts from; nothing else is shown.
    carries = 0
    if node.op.name in ("scan", "while"):
        carries = node.attrs.get("carries", len(node.results))
    own = node.attrs["consts"] + out if out < carries else None
    return all(position == own for position in positions)
