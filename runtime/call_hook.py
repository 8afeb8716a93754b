"""Tells of each piece of Python code when it is entered for the first time.

Python calls a profile function at every call and return, a million times while a large function
is traced, and one that is written in Python takes longer than the tracing itself. This one is
native; it asks Python only about code that it has not met.
"""

from __future__ import annotations

import ctypes
import functools
import types
from collections.abc import Callable
from typing import Any

from ..backends.llvm import native
from . import processor
from .objects import object_code

_SLOTS = 1 << 14  # of the table of code that was met; at most half are used

# The argument that Python hands to a profile function is a tuple here: what to call with the
# frame, and the address of the table. An entry of the table is the address of a code object.
_TEXT = f"""
declare ptr @PyFrame_GetCode(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare ptr @PyLong_AsVoidPtr(ptr)
declare ptr @PyObject_CallFunctionObjArgs(ptr, ...)
declare void @PyEval_SetProfile(ptr, ptr)

define i32 @sley_call_hook(ptr %argument, ptr %frame, i32 %what, ptr %unused) {{
entry:
  %is_call = icmp eq i32 %what, 0
  br i1 %is_call, label %look, label %met
look:
  %code = call ptr @PyFrame_GetCode(ptr %frame)
  call void @Py_DecRef(ptr %code)
  %number = call ptr @PyTuple_GetItem(ptr %argument, i64 1)
  %table = call ptr @PyLong_AsVoidPtr(ptr %number)
  %bits = ptrtoint ptr %code to i64
  %low = lshr i64 %bits, 4
  %first = and i64 %low, {_SLOTS - 1}
  br label %probe
probe:
  %slot = phi i64 [ %first, %look ], [ %next, %other ]
  %at = getelementptr ptr, ptr %table, i64 %slot
  %found = load ptr, ptr %at, align 8
  %same = icmp eq ptr %found, %code
  br i1 %same, label %met, label %different
different:
  %empty = icmp eq ptr %found, null
  br i1 %empty, label %new, label %other
other:
  %after = add i64 %slot, 1
  %next = and i64 %after, {_SLOTS - 1}
  br label %probe
new:
  %note = call ptr @PyTuple_GetItem(ptr %argument, i64 0)
  %result = call ptr (ptr, ...) @PyObject_CallFunctionObjArgs(ptr %note, ptr %frame, ptr null)
  %failed = icmp eq ptr %result, null
  br i1 %failed, label %error, label %noted
noted:
  call void @Py_DecRef(ptr %result)
  br label %met
met:
  ret i32 0
error:
  call void @PyEval_SetProfile(ptr null, ptr null)
  ret i32 -1
}}
"""


class CallHook(tuple):
    """A profile function of the thread that installs it. `sys.getprofile()` gives it back."""

    _table: ctypes.Array
    _codes: list[types.CodeType]

    @classmethod
    def of(cls, note: Callable[[types.FrameType], None]) -> CallHook:
        """One that calls `note` with the frame when code is entered for the first time.

        As with any profile function, it is removed when `note` raises, and the error goes on."""
        table = (ctypes.c_void_p * _SLOTS)()
        codes: list[types.CodeType] = []  # alive, so that no other takes the address of one

        def met(frame: types.FrameType) -> None:
            code = frame.f_code
            if len(codes) < _SLOTS // 2:  # else it is told of again, which is as right
                codes.append(code)
                slot = id(code) >> 4 & _SLOTS - 1
                while table[slot]:
                    slot = slot + 1 & _SLOTS - 1
                table[slot] = id(code)
            note(frame)

        hook = cls((met, ctypes.addressof(table)))
        hook._table, hook._codes = table, codes
        return hook

    def install(self) -> None:
        """Makes it the profile function of this thread; `sys.setprofile` removes it."""
        _set_profile()(_address(), self)


@functools.cache
def _library() -> native.Library:
    host = processor.host()
    made = object_code(_TEXT, cpu=host.cpu, features=host.features)
    return native.Library([made.code])


@functools.cache
def _address() -> int:
    return _library().address("sley_call_hook")


@functools.cache
def _set_profile() -> Any:
    function = ctypes.pythonapi.PyEval_SetProfile
    function.argtypes, function.restype = (ctypes.c_void_p, ctypes.py_object), None
    return function
