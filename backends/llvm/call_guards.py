"""What a call compares before it runs: its arguments, and the state that was read before."""

from __future__ import annotations

from .call_layout import CHECK, CONSTANT, KINDS

ARGUMENTS = f"""
; The address of the elements of a tensor of type %spec that lies dense and has neither history nor
; hooks; null of anything else.
define internal ptr @elements(ptr %object, ptr %spec) {{
entry:
  %type_at = call ptr @world_type_at()
  %type = call ptr @slot(ptr %object, ptr %type_at)
  %tensor = call ptr @world_tensor()
  %is_tensor = icmp eq ptr %type, %tensor
  br i1 %is_tensor, label %typed, label %no
typed:
  %spec_at = call ptr @world_spec_at()
  %own = call ptr @slot(ptr %object, ptr %spec_at)
  %same = icmp eq ptr %own, %spec
  br i1 %same, label %start, label %no
start:
  %plain = call ptr @world_plain()
  %plains = call ptr @world_plains()
  %count = ptrtoint ptr %plains to i64
  %last = mul i64 %count, 2
  br label %look
look:
  %i = phi i64 [ 0, %start ], [ %next, %matches ]
  %more = icmp ult i64 %i, %last
  br i1 %more, label %compare, label %memory
compare:
  %value_i = add i64 %i, 1
  %next = add i64 %i, 2
  %at = call ptr @item(ptr %plain, i64 %i)
  %wanted = call ptr @item(ptr %plain, i64 %value_i)
  %found = call ptr @slot(ptr %object, ptr %at)
  %equal = icmp eq ptr %found, %wanted
  br i1 %equal, label %matches, label %no
matches:
  br label %look
memory:
  %storage_at = call ptr @world_storage_at()
  %storage = call ptr @slot(ptr %object, ptr %storage_at)
  %dense_at = call ptr @world_dense_at()
  %dense = call ptr @slot(ptr %storage, ptr %dense_at)
  %address = call ptr @PyLong_AsVoidPtr(ptr %dense)
  %known = icmp ne ptr %address, null
  br i1 %known, label %yes, label %search
yes:
  ret ptr %address
search:
  %locate = call ptr @world_locate()
  %number = call ptr @PyObject_CallOneArg(ptr %locate, ptr %storage)
  %found_one = icmp ne ptr %number, null
  br i1 %found_one, label %located, label %failed
located:
  %place = call ptr @PyLong_AsVoidPtr(ptr %number)
  call void @Py_DecRef(ptr %number)
  ret ptr %place
failed:
  call void @PyErr_Clear()
  br label %no
no:
  ret ptr null
}}

; Whether the arguments are those of the record; the addresses of tensors go to %pointers.
define internal i1 @fits(ptr %record, ptr %args, i64 %nargs, ptr %pointers) {{
entry:
  %inputs = call ptr @record_inputs(ptr %record)
  %count = ptrtoint ptr %inputs to i64
  %equal = icmp eq i64 %count, %nargs
  br i1 %equal, label %start, label %no
start:
  %specs = call ptr @record_specs(ptr %record)
  br label %look
look:
  %i = phi i64 [ 0, %start ], [ %next, %matches ], [ %next, %constant ]
  %tensors = phi i64 [ 0, %start ], [ %tensors_next, %matches ], [ %tensors, %constant ]
  %more = icmp ult i64 %i, %nargs
  br i1 %more, label %compare, label %yes
compare:
  %next = add i64 %i, 1
  %argument = call ptr @item(ptr %args, i64 %i)
  %spec = call ptr @item(ptr %specs, i64 %i)
  %spec_word = ptrtoint ptr %spec to i64
  %mark = and i64 %spec_word, {CONSTANT}
  %is_tensor = icmp eq i64 %mark, 0
  br i1 %is_tensor, label %tensor, label %constant
tensor:
  %address = call ptr @elements(ptr %argument, ptr %spec)
  %known = icmp ne ptr %address, null
  br i1 %known, label %matches, label %no
matches:
  %at = getelementptr i64, ptr %pointers, i64 %tensors
  store ptr %address, ptr %at, align 8
  %tensors_next = add i64 %tensors, 1
  br label %look
constant:
  %wanted_word = xor i64 %spec_word, {CONSTANT}
  %wanted = inttoptr i64 %wanted_word to ptr
  %same = icmp eq ptr %argument, %wanted
  br i1 %same, label %look, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}
"""

GUARDS = f"""
; Whether a dict has these %count pairs, in this order, and no others.
define internal i1 @same_pairs(ptr %dict, i64 %count, ptr %pairs) {{
entry:
  %position = alloca i64, align 8
  %key = alloca ptr, align 8
  %value = alloca ptr, align 8
  %size = call i64 @PyDict_Size(ptr %dict)
  %equal = icmp eq i64 %size, %count
  br i1 %equal, label %start, label %no
start:
  store i64 0, ptr %position, align 8
  br label %look
look:
  %i = phi i64 [ 0, %start ], [ %next, %compare ]
  %found = call i32 @PyDict_Next(ptr %dict, ptr %position, ptr %key, ptr %value)
  %more = icmp ne i32 %found, 0
  br i1 %more, label %compare, label %yes
compare:
  %value_i = add i64 %i, 1
  %next = add i64 %i, 2
  %wanted_key = call ptr @item(ptr %pairs, i64 %i)
  %wanted = call ptr @item(ptr %pairs, i64 %value_i)
  %own_key = load ptr, ptr %key, align 8
  %own = load ptr, ptr %value, align 8
  %key_equal = icmp eq ptr %own_key, %wanted_key
  %value_equal = icmp eq ptr %own, %wanted
  %both = and i1 %key_equal, %value_equal
  br i1 %both, label %look, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}

define internal i1 @same_elements(ptr %list, i64 %count, ptr %elements) {{
entry:
  %size = call i64 @PyList_Size(ptr %list)
  %equal = icmp eq i64 %size, %count
  br i1 %equal, label %look, label %no
look:
  %i = phi i64 [ 0, %entry ], [ %next, %compare ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %compare, label %yes
compare:
  %next = add i64 %i, 1
  %own = call ptr @PyList_GetItem(ptr %list, i64 %i)
  %wanted = call ptr @item(ptr %elements, i64 %i)
  %same = icmp eq ptr %own, %wanted
  br i1 %same, label %look, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}

; Whether an object is of the type that comes first, and its __dict__ has the pairs after it.
define internal i1 @same_attributes(ptr %object, i64 %count, ptr %expected) {{
entry:
  %type_at = call ptr @world_type_at()
  %type = call ptr @slot(ptr %object, ptr %type_at)
  %wanted = load ptr, ptr %expected, align 8
  %equal = icmp eq ptr %type, %wanted
  br i1 %equal, label %typed, label %no
typed:
  %dict = call ptr @PyObject_GenericGetDict(ptr %object, ptr null)
  %there = icmp ne ptr %dict, null
  br i1 %there, label %compare, label %no
compare:
  %pairs = getelementptr i64, ptr %expected, i64 1
  %same = call i1 @same_pairs(ptr %dict, i64 %count, ptr %pairs)
  call void @Py_DecRef(ptr %dict)
  ret i1 %same
no:
  ret i1 false
}}

define internal i1 @same_item(ptr %dict, ptr %expected) {{
  %key = load ptr, ptr %expected, align 8
  %wanted = call ptr @item(ptr %expected, i64 1)
  %own = call ptr @PyDict_GetItemWithError(ptr %dict, ptr %key)
  %same = icmp eq ptr %own, %wanted
  ret i1 %same
}}

; The content stays alive by the cell.
define internal i1 @same_content(ptr %cell, ptr %expected) {{
  %wanted = load ptr, ptr %expected, align 8
  %own = call ptr @PyCell_Get(ptr %cell)
  call void @Py_DecRef(ptr %own)
  %same = icmp eq ptr %own, %wanted
  ret i1 %same
}}

define internal i1 @holds(ptr %check) {{
entry:
  %kind_word = call ptr @check_kind(ptr %check)
  %kind = ptrtoint ptr %kind_word to i64
  %subject = call ptr @check_subject(ptr %check)
  %count_word = call ptr @check_count(ptr %check)
  %count = ptrtoint ptr %count_word to i64
  %expected = call ptr @check_expected(ptr %check)
  switch i64 %kind, label %no [
    i64 {KINDS.index("dict")}, label %dict
    i64 {KINDS.index("list")}, label %list
    i64 {KINDS.index("attributes")}, label %attributes
    i64 {KINDS.index("length")}, label %length
    i64 {KINDS.index("item")}, label %item
    i64 {KINDS.index("cell")}, label %cell
  ]
dict:
  %same_dict = call i1 @same_pairs(ptr %subject, i64 %count, ptr %expected)
  ret i1 %same_dict
list:
  %same_list = call i1 @same_elements(ptr %subject, i64 %count, ptr %expected)
  ret i1 %same_list
attributes:
  %same_attributes = call i1 @same_attributes(ptr %subject, i64 %count, ptr %expected)
  ret i1 %same_attributes
length:
  %size = call i64 @PyObject_Size(ptr %subject)
  %same_length = icmp eq i64 %size, %count
  ret i1 %same_length
item:
  %same_item = call i1 @same_item(ptr %subject, ptr %expected)
  ret i1 %same_item
cell:
  %same_cell = call i1 @same_content(ptr %subject, ptr %expected)
  ret i1 %same_cell
no:
  ret i1 false
}}

; Whether storages have the versions that they had, and nobody else may write to them.
define internal i1 @same_versions(ptr %pairs, i64 %count) {{
entry:
  %version_at = call ptr @world_version_at()
  %handed_out_at = call ptr @world_handed_out_at()
  %false = call ptr @world_false()
  %last = mul i64 %count, 2
  br label %look
look:
  %i = phi i64 [ 0, %entry ], [ %next, %compare ]
  %more = icmp ult i64 %i, %last
  br i1 %more, label %compare, label %yes
compare:
  %version_i = add i64 %i, 1
  %next = add i64 %i, 2
  %storage = call ptr @item(ptr %pairs, i64 %i)
  %wanted = call ptr @item(ptr %pairs, i64 %version_i)
  %version = call ptr @slot(ptr %storage, ptr %version_at)
  %handed_out = call ptr @slot(ptr %storage, ptr %handed_out_at)
  %same = icmp eq ptr %version, %wanted
  %own = icmp eq ptr %handed_out, %false
  %both = and i1 %same, %own
  br i1 %both, label %look, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}

; Whether the state that the program depends on is what it was.
define internal i1 @guarded(ptr %record) {{
entry:
  %now = call ptr @record_now(ptr %record)
  %known = icmp ne ptr %now, null
  br i1 %known, label %count, label %no
count:
  %epoch = call ptr @world_epoch()
  %epoch_at = call ptr @world_epoch_at()
  %present = call ptr @slot(ptr %epoch, ptr %epoch_at)
  %wanted = call ptr @now_epoch(ptr %now)
  %same = icmp eq ptr %present, %wanted
  br i1 %same, label %versions, label %no
versions:
  %pairs = call ptr @now_versions(ptr %now)
  %pair_word = call ptr @now_version_count(ptr %now)
  %pair_count = ptrtoint ptr %pair_word to i64
  %unwritten = call i1 @same_versions(ptr %pairs, i64 %pair_count)
  br i1 %unwritten, label %start, label %no
start:
  %checks = call ptr @record_checks(ptr %record)
  %check_count = call ptr @record_check_count(ptr %record)
  %last = ptrtoint ptr %check_count to i64
  br label %look
look:
  %i = phi i64 [ 0, %start ], [ %next, %compare ]
  %more = icmp ult i64 %i, %last
  br i1 %more, label %compare, label %yes
compare:
  %next = add i64 %i, 1
  %word = mul i64 %i, {len(CHECK)}
  %check = getelementptr i64, ptr %checks, i64 %word
  %holds = call i1 @holds(ptr %check)
  br i1 %holds, label %look, label %failed
yes:
  ret i1 true
failed:
  call void @PyErr_Clear()
  br label %no
no:
  ret i1 false
}}
"""
