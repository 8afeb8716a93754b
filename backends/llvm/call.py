"""The call of a compiled function whose arguments are as they were before, as LLVM text.

    PyObject *sley_call(PyObject *self, PyObject *const *args, Py_ssize_t nargs)

A function of Python's C API (METH_FASTCALL). `self` is a tuple whose first element is the address
of a *table*: the number of programs and the address of each one's *record*, newest first. The first
program whose record fits the call runs, and its new tensors are returned; where none fits, the
object `missing` is, and nothing has happened.

Only what is the same at each call is here, as data: identities to compare, words to copy. Whatever
needs a decision is left to Python by returning `missing`. So a call has no step of the interpreter.

Everything is in 8-byte words; the fields of a structure are named in the order in which they lie.
The interpreter's lock is held, but while the program runs; what a call uses belongs to `self`,
which the caller holds, or is a lease of its own.
"""

from __future__ import annotations

from .call_guards import ARGUMENTS, GUARDS
from .call_layout import API, CHECK, MOST_INPUTS, NOW, RECORD, RESULT, WORLD
from .call_results import RESULTS


def call_text() -> str:
    """The LLVM text of `sley_call`, and of `sley_world`, the words of `WORLD`."""
    fields = [_field(f"world_{name}", f"@sley_world, i64 {i}") for i, name in enumerate(WORLD)]
    for kind, names in (("record", RECORD), ("now", NOW), ("check", CHECK), ("result", RESULT)):
        fields += [_field(f"{kind}_{n}", f"%of, i64 {i}", "ptr %of") for i, n in enumerate(names)]
    declared = [f"declare {result} @{name}({args})" for name, (result, args) in API.items()]
    words = f"@sley_world = global [{len(WORLD)} x i64] zeroinitializer, align 8"
    return "\n".join([words, *declared, *fields, _WORDS, ARGUMENTS, GUARDS, RESULTS, _RUNNING])


def _field(name: str, where: str, parameter: str = "") -> str:
    return (
        f"define internal ptr @{name}({parameter}) alwaysinline {{\n"
        f"  %at = getelementptr i64, ptr {where}\n"
        f"  %word = load ptr, ptr %at, align 8\n"
        f"  ret ptr %word\n"
        f"}}"
    )


_WORDS = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; The word of an object at so many bytes.
define internal ptr @slot(ptr %object, ptr %offset) alwaysinline {
  %bytes = ptrtoint ptr %offset to i64
  %at = getelementptr i8, ptr %object, i64 %bytes
  %word = load ptr, ptr %at, align 8
  ret ptr %word
}

define internal void @set_slot(ptr %object, ptr %offset, ptr %value) alwaysinline {
  %bytes = ptrtoint ptr %offset to i64
  %at = getelementptr i8, ptr %object, i64 %bytes
  store ptr %value, ptr %at, align 8
  ret void
}

define internal ptr @item(ptr %words, i64 %index) alwaysinline {
  %at = getelementptr i64, ptr %words, i64 %index
  %word = load ptr, ptr %at, align 8
  ret ptr %word
}

"""

_RUNNING = f"""
; The last of the idle leases (borrowed), if it is prepared for the record and for the pool of now;
; null if not.
define internal ptr @find_lease(ptr %record) {{
entry:
  %idle = call ptr @record_idle(ptr %record)
  %size = call i64 @PyList_Size(ptr %idle)
  %empty = icmp sle i64 %size, 0
  br i1 %empty, label %no, label %look
look:
  %last = add i64 %size, -1
  %lease = call ptr @PyList_GetItem(ptr %idle, i64 %last)
  %binding_at = call ptr @world_lease_binding_at()
  %binding = call ptr @slot(ptr %lease, ptr %binding_at)
  %wanted = call ptr @record_binding(ptr %record)
  %bound = icmp eq ptr %binding, %wanted
  br i1 %bound, label %find_pool, label %no
find_pool:
  %pool_at = call ptr @world_lease_pool_at()
  %pool = call ptr @slot(ptr %lease, ptr %pool_at)
  %pools = call ptr @world_pools()
  %default_name = call ptr @world_default_name()
  %default = call ptr @PyDict_GetItemWithError(ptr %pools, ptr %default_name)
  %current = icmp eq ptr %pool, %default
  br i1 %current, label %ask, label %no
ask:
  %running_name = call ptr @world_running_name()
  %running = call ptr @PyObject_GetAttr(ptr %pool, ptr %running_name)
  %known = icmp ne ptr %running, null
  br i1 %known, label %decide, label %failed
decide:
  call void @Py_DecRef(ptr %running)
  %true = call ptr @world_true()
  %runs = icmp eq ptr %running, %true
  br i1 %runs, label %yes, label %no
yes:
  ret ptr %lease
failed:
  call void @PyErr_Clear()
  br label %no
no:
  ret ptr null
}}

; Takes the lease from the idle ones; null where there is an error, which is set.
define internal ptr @take_lease(ptr %record, ptr %lease) {{
entry:
  %idle = call ptr @record_idle(ptr %record)
  %size = call i64 @PyList_Size(ptr %idle)
  %last = add i64 %size, -1
  call void @Py_IncRef(ptr %lease)
  %status = call i32 @PyList_SetSlice(ptr %idle, i64 %last, i64 %size, ptr null)
  %taken = icmp eq i32 %status, 0
  br i1 %taken, label %yes, label %drop
yes:
  ret ptr %lease
drop:
  call void @Py_DecRef(ptr %lease)
  ret ptr null
}}

define internal void @give_back(ptr %record, ptr %lease) {{
entry:
  %idle = call ptr @record_idle(ptr %record)
  %status = call i32 @PyList_Append(ptr %idle, ptr %lease)
  call void @Py_DecRef(ptr %lease)
  %done = icmp eq i32 %status, 0
  br i1 %done, label %end, label %failed
failed:
  call void @PyErr_Clear()
  br label %end
end:
  ret void
}}

; Writes all pointers into the frame of the lease, and gives the frame.
define internal ptr @fill(ptr %record, ptr %now, ptr %lease, ptr %pointers, ptr %fresh) {{
  %address_at = call ptr @world_lease_address_at()
  %number = call ptr @slot(ptr %lease, ptr %address_at)
  %frame = call ptr @PyLong_AsVoidPtr(ptr %number)
  %buffers_at = call ptr @record_buffers_at(ptr %record)
  %skipped = ptrtoint ptr %buffers_at to i64
  %inputs = getelementptr i8, ptr %frame, i64 %skipped
  %tensors = call ptr @record_tensors(ptr %record)
  %input_count = ptrtoint ptr %tensors to i64
  %rest = call ptr @append(ptr %inputs, ptr %pointers, i64 %input_count)
  %tail = call ptr @now_tail(ptr %now)
  %tail_count = call ptr @now_tail_count(ptr %now)
  %tail_words = ptrtoint ptr %tail_count to i64
  %last = call ptr @append(ptr %rest, ptr %tail, i64 %tail_words)
  %result_count = call ptr @record_result_count(ptr %record)
  %results = ptrtoint ptr %result_count to i64
  %end = call ptr @append(ptr %last, ptr %fresh, i64 %results)
  ret ptr %frame
}}

; Copies words, and gives the end of the copy.
define internal ptr @append(ptr %at, ptr %words, i64 %count) alwaysinline {{
  %bytes = mul i64 %count, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %at, ptr %words, i64 %bytes, i1 false)
  %end = getelementptr i8, ptr %at, i64 %bytes
  ret ptr %end
}}

; Runs the program without the interpreter's lock, in a lease of its own; whether it has.
define internal i1 @run_unlocked(ptr %record, ptr %now, ptr %idle, ptr %pointers, ptr %fresh) {{
entry:
  %lease = call ptr @take_lease(ptr %record, ptr %idle)
  %taken = icmp ne ptr %lease, null
  br i1 %taken, label %go, label %failed
failed:
  call void @PyErr_Clear()
  ret i1 false
go:
  %held = call ptr @now_held(ptr %now)
  call void @Py_IncRef(ptr %held)
  %frame = call ptr @fill(ptr %record, ptr %now, ptr %lease, ptr %pointers, ptr %fresh)
  %enter = call ptr @record_entry(ptr %record)
  %thread = call ptr @PyEval_SaveThread()
  call void %enter(ptr %frame)
  call void @PyEval_RestoreThread(ptr %thread)
  call void @Py_DecRef(ptr %held)
  call void @give_back(ptr %record, ptr %lease)
  ret i1 true
}}

; Runs the program with the arguments at %pointers; the object `missing` where it has no lease, or
; where making the results has run code of Python's that changed what is known of the program.
define internal ptr @run(ptr %record, ptr %pointers) {{
entry:
  %known = call ptr @record_now(ptr %record)
  %result_count = call ptr @record_result_count(ptr %record)
  %count = ptrtoint ptr %result_count to i64
  %fresh = alloca ptr, i64 %count, align 8
  %results = call ptr @new_results(ptr %record, ptr %fresh)
  %made = icmp ne ptr %results, null
  br i1 %made, label %look, label %failed
failed:
  ret ptr null
look:
  %now = call ptr @record_now(ptr %record)
  %same = icmp eq ptr %now, %known
  br i1 %same, label %find, label %drop
find:
  %lease = call ptr @find_lease(ptr %record)
  %leased = icmp ne ptr %lease, null
  br i1 %leased, label %choose, label %drop
choose:
  %short = call ptr @record_is_short(ptr %record)
  %keeps_lock = icmp ne ptr %short, null
  br i1 %keeps_lock, label %locked, label %unlocked
locked: ; nobody else can look for a lease
  %frame = call ptr @fill(ptr %record, ptr %now, ptr %lease, ptr %pointers, ptr %fresh)
  %enter = call ptr @record_entry(ptr %record)
  call void %enter(ptr %frame)
  br label %done
unlocked:
  %ran = call i1 @run_unlocked(ptr %record, ptr %now, ptr %lease, ptr %pointers, ptr %fresh)
  br i1 %ran, label %done, label %drop
done:
  %finish = call ptr @record_finish(ptr %record)
  %plain = icmp eq ptr %finish, null
  br i1 %plain, label %return, label %last
return:
  ret ptr %results
last:
  %finished = call ptr @PyObject_CallOneArg(ptr %finish, ptr %results)
  call void @Py_DecRef(ptr %results)
  ret ptr %finished
drop:
  call void @Py_DecRef(ptr %results)
  %nothing = call ptr @world_missing()
  call void @Py_IncRef(ptr %nothing)
  ret ptr %nothing
}}

; The settings of this thread (borrowed); null where a function is recorded or differentiated, or
; where an error is set.
define internal ptr @context_of(ptr %state) {{
entry:
  %trace_name = call ptr @world_trace_name()
  %trace = call ptr @PyDict_GetItemWithError(ptr %state, ptr %trace_name)
  %none = call ptr @world_none()
  %eager = icmp eq ptr %trace, %none
  br i1 %eager, label %next, label %no
next:
  %differentiates_name = call ptr @world_differentiates_name()
  %differentiates = call ptr @PyDict_GetItemWithError(ptr %state, ptr %differentiates_name)
  %false = call ptr @world_false()
  %plain = icmp eq ptr %differentiates, %false
  br i1 %plain, label %last, label %no
last:
  %context_name = call ptr @world_context_name()
  %context = call ptr @PyDict_GetItemWithError(ptr %state, ptr %context_name)
  ret ptr %context
no:
  ret ptr null
}}

define ptr @sley_call(ptr %self, ptr %args, i64 %nargs) {{
entry:
  %many = icmp ugt i64 %nargs, {MOST_INPUTS}
  br i1 %many, label %missing, label %begin
begin:
  %pointers = alloca ptr, i64 %nargs, align 8
  %ambient = call ptr @world_ambient()
  %dict_name = call ptr @world_dict_name()
  %state = call ptr @PyObject_GetAttr(ptr %ambient, ptr %dict_name)
  %known = icmp ne ptr %state, null
  br i1 %known, label %settings, label %failed
failed:
  ret ptr null
settings:
  %context = call ptr @context_of(ptr %state)
  call void @Py_DecRef(ptr %state)
  %plain = icmp ne ptr %context, null
  br i1 %plain, label %search, label %missing
search:
  %number = call ptr @PyTuple_GetItem(ptr %self, i64 0)
  %table = call ptr @PyLong_AsVoidPtr(ptr %number)
  %records = load i64, ptr %table, align 8
  br label %look
look:
  %i = phi i64 [ 0, %search ], [ %next, %other ], [ %next, %unguarded ]
  %more = icmp ult i64 %i, %records
  br i1 %more, label %compare, label %missing
compare:
  %next = add i64 %i, 1
  %record = call ptr @item(ptr %table, i64 %next)
  %wanted = call ptr @record_context(ptr %record)
  %same = icmp eq ptr %context, %wanted
  br i1 %same, label %arguments, label %other
arguments:
  %fits = call i1 @fits(ptr %record, ptr %args, i64 %nargs, ptr %pointers)
  br i1 %fits, label %state_too, label %other
other:
  br label %look
state_too:
  %guarded = call i1 @guarded(ptr %record)
  br i1 %guarded, label %found, label %unguarded
unguarded:
  br label %look
found:
  %result = call ptr @run(ptr %record, ptr %pointers)
  ret ptr %result
missing:
  %nothing = call ptr @world_missing()
  call void @Py_IncRef(ptr %nothing)
  ret ptr %nothing
}}
"""
