"""Rows that read rows: what they access is found once, however many ways lead there."""

from sley.ir.access import Expressions, accesses, axis_extents
from sley.ir.parser import parse


def test_a_chain_of_rows_is_linear():
    depth = 40
    rows = "".join(
        f"""
    %r{k + 1} = row %i{k} in 8 {{
      %a{k} = load %r{k}[%i{k}]
      %b{k} = load %r{k}[7 - %i{k}]
      %c{k} = add(%a{k}, %b{k})
      yield %c{k}
    }}"""
        for k in range(depth)
    )
    kernel = parse(f"""
kernel @rows(%x: f32[5, 8]) -> (%y: f32[5, 8]) {{
  parallel %n in 5 {{
    %r0 = row %i in 8 {{
      %0 = load %x[%n, %i]
      yield %0
    }}{rows}
    parallel %j in 8 {{
      %1 = load %r{depth}[%j]
      store %y[%n, %j] = %1
    }}
  }}
}}
""")
    body = kernel.nodes[0].regions[0]
    inlined = {node for node in body.nodes if node.op.name == "row"}
    found = accesses(body, Expressions(axis_extents(kernel)), inlined)
    final = body.nodes[-1].regions[0]
    read = accesses(final, Expressions(axis_extents(kernel)), inlined)
    assert len(found) < 10 * depth
    assert sorted(str(a.node.operands[0].name) for a in read) == ["x", "x", "y"]
