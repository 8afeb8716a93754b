"""Whether images share the tiles of a product, or each is a product of its own."""

from __future__ import annotations

from dataclasses import replace

from ...ir.dims import product
from ...ir.ops.base import ContractMap

SMALL_IMAGE = 64  # points; below, the lanes of a tile would mostly be none of an image


def apart(contract: ContractMap) -> ContractMap:
    """`contract` with those axes of n that may be batch axes as such, where the others have enough
    points to fill tiles: what is read for one image then stays in the cache."""
    count = contract.apart
    points = product(contract.n[count:])
    if not count or (isinstance(points, int) and points < SMALL_IMAGE):
        return contract
    return replace(
        contract,
        batch=contract.n[:count] + contract.batch,
        n=contract.n[count:],
        lhs=lambda b, m, k: contract.lhs(b[count:], m, k),
        rhs=lambda b, k, n: contract.rhs(b[count:], k, b[:count] + n),
        result=lambda b, m, n: contract.result(b[count:], m, b[:count] + n),
        apart=0,
    )
