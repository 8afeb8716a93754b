"""Kernel + schedule -> explicit loops: the CPU's reading of a kernel.

`scope` computes the nodes of a region, scalars or vectors as the surrounding loop wants; `loops`
makes loops; `reductions` and `rows` expand the nodes that need one; `tasks` the outermost loop.
"""

from .tasks import expand, task_extent

__all__ = ["expand", "task_extent"]
