"""The counter of changes to state that compiled programs have read.

Setting or deleting an attribute of a module or an optimizer, and giving a tensor other memory
(`x.data = y`), adds one. A compiled program compares what it has read again only when the counter
has moved. Writing the elements of a tensor does not count.
"""

from __future__ import annotations


class Epoch:
    """Holds the count; one object, `epoch`, for the whole process."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


epoch = Epoch()
