"""What `import sley` gives: names, docstrings, one object under both names of a module."""

from __future__ import annotations

import inspect
import sys

import pytest

import sley
import sley.nn as public_nn
import sley.nn.functional as F
import sley.optim.lr_scheduler as schedulers
from sley import nn, optim
from sley.frontend import method_types, methods
from sley.utils import data

FACES = [sley, nn, F, nn.utils, optim, schedulers, data]


def test_modules_have_one_object_under_both_names():
    assert public_nn is nn is sys.modules["sley.frontend.nn"] and F is nn.functional
    assert sley.data is data and schedulers is optim.lr_scheduler


@pytest.mark.parametrize("face", FACES, ids=lambda m: m.__name__)
def test_listed_names_exist_and_say_what_they_do(face):
    assert len(face.__all__) == len(set(face.__all__))
    silent = []
    for name in face.__all__:
        value = getattr(face, name)
        if inspect.ismodule(value) or isinstance(value, sley.dtype) or value is None:
            continue
        if not (inspect.getdoc(value) or "").strip():
            silent.append(name)
    assert not silent


def test_methods_say_what_they_do_and_are_declared():
    attached = methods._methods()
    assert all((inspect.getdoc(f) or "").strip() for n, f in attached.items() if n[0] != "_")
    with open(method_types.__file__, encoding="utf-8") as file:
        assert file.read() == methods.declarations(), "write methods.declarations() to that file"
