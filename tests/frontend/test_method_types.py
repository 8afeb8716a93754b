"""The declared methods of `Tensor` are the attached ones."""

from __future__ import annotations

from pathlib import Path

from sley.frontend import methods
from sley.frontend.tensor import Tensor


def test_the_declarations_are_up_to_date() -> None:
    text = Path(methods.__file__).with_name("method_types.py").read_text()
    assert text == methods.declarations(), "write methods.declarations() to method_types.py"


def test_every_declared_method_is_there() -> None:
    names = [line.split("def ")[1].split("(")[0] for line in methods.declarations().splitlines()
             if "def " in line]  # fmt: skip
    assert len(names) > 300
    assert [n for n in names if not hasattr(Tensor, n)] == []
