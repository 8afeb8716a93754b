"""The structures that `call.py` reads, by the names of their words, and what it calls of Python."""

from __future__ import annotations

# What all calls share, written once: objects, and where the words of objects are.
WORLD = (
    "missing", "none", "true", "false",
    # The state of a thread: an object whose __dict__ has these.
    "ambient", "dict_name", "trace_name", "differentiates_name", "context_name",
    "epoch", "epoch_at",  # the counter of changes, and its slot
    "type_at",  # of the type of any object
    # A tensor argument: type, and slots; `plain`: (slot, object) that it must hold, so many.
    "tensor", "spec_at", "storage_at", "dense_at", "plain", "plains",
    "locate",  # called with a storage whose address is not known yet: gives it, or 0
    # New tensors: type, and slots that are copied from a pattern, so many; those that are not.
    "tensor_slots", "tensor_slot_count", "array_at",
    "storage", "storage_slots", "storage_slot_count", "storage_array_at", "pointer_at",
    "version_at", "handed_out_at",
    "new_array", "array_type", "data_at",  # numpy's PyArray_NewFromDescr and PyArray_Type
    # The pool of threads now: a variable of a module, and its attribute.
    "pools", "default_name", "running_name",
    "lease_binding_at", "lease_pool_at", "lease_address_at",
)  # fmt: skip

# A program under one signature and one set of guards.
RECORD = (
    # Number of arguments, of tensors among them, and what each must be: of a tensor the type, of
    # another object itself, marked as CONSTANT.
    "inputs", "tensors", "specs",
    "context",  # the settings that it was found under
    "checks", "check_count",
    "now",  # what changes; 0: nothing is known of it
    "idle", "binding",  # the leases, and what theirs must be prepared for
    "is_short",  # not 0: the program takes no longer than giving up the interpreter's lock is worth
    "entry", "buffers_at",  # the native entry; bytes of its frame before the pointers
    "results", "result_count", "is_single",
    "finish",  # called with the tuple of results; 0: that is the result
)  # fmt: skip

# What of a program is replaced as a whole.
NOW = (
    "epoch",  # the counter of changes at which all was as it must be
    "versions", "version_count",  # storages that were read before, and the versions of these
    "tail", "tail_count",  # pointers after those of the arguments
    "held",  # an object that owns what these point to
)  # fmt: skip

# A guard: what kind, of which object, how many objects at which address, as follows.
CHECK = ("kind", "subject", "count", "expected")
KINDS = (
    "dict",  # keys and values, in order
    "list",  # elements
    "attributes",  # the type, then keys and values of __dict__
    "length",
    "item",  # a key of a dict and its value, or 0 for none
    "cell",  # its content, or 0 for none
)

# A new tensor: dtype, rank and sizes for numpy, or `make` that gives the array; what to copy from.
RESULT = ("dtype", "rank", "sizes", "make", "tensor", "storage")

CONSTANT = 1  # objects lie at multiples of 8
MOST_INPUTS = 1024

# Functions of Python that are called: result, arguments.
API = {
    "PyTuple_GetItem": ("ptr", "ptr, i64"),
    "PyTuple_New": ("ptr", "i64"),
    "PyTuple_SetItem": ("i32", "ptr, i64, ptr"),
    "PyLong_AsVoidPtr": ("ptr", "ptr"),
    "PyLong_FromVoidPtr": ("ptr", "ptr"),
    "PyObject_GetAttr": ("ptr", "ptr, ptr"),
    "PyObject_GenericGetDict": ("ptr", "ptr, ptr"),
    "PyObject_Size": ("i64", "ptr"),
    "PyObject_CallOneArg": ("ptr", "ptr, ptr"),
    "PyObject_CallNoArgs": ("ptr", "ptr"),
    "PyDict_GetItemWithError": ("ptr", "ptr, ptr"),
    "PyDict_Size": ("i64", "ptr"),
    "PyDict_Next": ("i32", "ptr, ptr, ptr, ptr"),
    "PyList_Size": ("i64", "ptr"),
    "PyList_GetItem": ("ptr", "ptr, i64"),
    "PyList_SetSlice": ("i32", "ptr, i64, i64, ptr"),
    "PyList_Append": ("i32", "ptr, ptr"),
    "PyCell_Get": ("ptr", "ptr"),
    "PyType_GenericAlloc": ("ptr", "ptr, i64"),
    "PyErr_Clear": ("void", ""),
    "Py_IncRef": ("void", "ptr"),
    "Py_DecRef": ("void", "ptr"),
    "PyEval_SaveThread": ("ptr", ""),
    "PyEval_RestoreThread": ("void", "ptr"),
}
