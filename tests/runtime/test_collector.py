"""Garbage is not looked for while a program is compiled, and is again afterwards."""

import gc

import pytest

import sley
from sley.runtime.collector import no_collection


def test_importing_leaves_it_on():
    assert gc.isenabled()
    assert sley.__name__ == "sley"


def test_off_inside_and_back():
    with no_collection():
        assert not gc.isenabled()
        with no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_back_after_an_error():
    with pytest.raises(KeyError), no_collection():
        raise KeyError
    assert gc.isenabled()


def test_who_has_it_off_keeps_it_off():
    gc.disable()
    try:
        with no_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
