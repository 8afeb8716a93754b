"""The order of growing groups answers as a search through all of them does."""

import random

import pytest

from sley.passes.fuse.groups import Form, Group
from sley.passes.fuse.order import Order


def runs_after(group: Group, other: Group) -> bool:
    """Whether `other` reads `group`, directly or not."""
    return any(p is group or runs_after(group, p) for p in other.producers)


@pytest.mark.parametrize("seed", range(20))
def test_random_growth(seed: int):
    rng = random.Random(seed)
    order, groups = Order(), list[Group]()
    answers = set()
    for _ in range(60):
        if len(groups) < 2 or rng.random() < 0.4:
            group = Group(Form.LOOP, (4,))
            for producer in rng.sample(groups, min(len(groups), rng.randrange(3))):
                group.producers[producer] = None
            order.add(group)
            groups.append(group)
            continue
        group, *others = rng.sample(groups, min(len(groups), rng.randrange(2, 4)))
        found = order.precedes(group, [group, *others])
        assert found == any(runs_after(group, other) for other in others)
        answers.add(found)
        if not found:
            for other in others:
                order.connect(other, group)
    assert answers == {True, False}
