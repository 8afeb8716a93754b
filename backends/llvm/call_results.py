"""New tensors, over new memory that the program fills."""

from __future__ import annotations

from .call_layout import RESULT

RESULTS = f"""
; A new object of a type with copies of the slots of another.
define internal ptr @copy_of(ptr %type, ptr %pattern, ptr %slots, ptr %slot_count) {{
entry:
  %count = ptrtoint ptr %slot_count to i64
  %object = call ptr @PyType_GenericAlloc(ptr %type, i64 0)
  %there = icmp ne ptr %object, null
  br i1 %there, label %look, label %end
look:
  %i = phi i64 [ 0, %entry ], [ %next, %copy ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %copy, label %end
copy:
  %next = add i64 %i, 1
  %at = call ptr @item(ptr %slots, i64 %i)
  %value = call ptr @slot(ptr %pattern, ptr %at)
  call void @Py_IncRef(ptr %value)
  call void @set_slot(ptr %object, ptr %at, ptr %value)
  br label %look
end:
  ret ptr %object
}}

define internal ptr @new_array(ptr %result) {{
entry:
  %make = call ptr @result_make(ptr %result)
  %ready = icmp ne ptr %make, null
  br i1 %ready, label %made, label %numpy
made:
  %given = call ptr @PyObject_CallNoArgs(ptr %make)
  ret ptr %given
numpy:
  %dtype = call ptr @result_dtype(ptr %result)
  %rank_word = call ptr @result_rank(ptr %result)
  %rank_wide = ptrtoint ptr %rank_word to i64
  %rank = trunc i64 %rank_wide to i32
  %sizes = call ptr @result_sizes(ptr %result)
  %new = call ptr @world_new_array()
  %type = call ptr @world_array_type()
  call void @Py_IncRef(ptr %dtype)
  %array = call ptr %new(ptr %type, ptr %dtype, i32 %rank, ptr %sizes, ptr null, ptr null, i32 0,
                         ptr null)
  ret ptr %array
}}

; A tensor over new memory, whose address goes to %pointer.
define internal ptr @new_tensor(ptr %result, ptr %pointer) {{
entry:
  %array = call ptr @new_array(ptr %result)
  %made = icmp ne ptr %array, null
  br i1 %made, label %memory, label %failed
memory:
  %data_at = call ptr @world_data_at()
  %address = call ptr @slot(ptr %array, ptr %data_at)
  store ptr %address, ptr %pointer, align 8
  %storage_type = call ptr @world_storage()
  %storage_slots = call ptr @world_storage_slots()
  %storage_count = call ptr @world_storage_slot_count()
  %storage_pattern = call ptr @result_storage(ptr %result)
  %storage = call ptr @copy_of(ptr %storage_type, ptr %storage_pattern, ptr %storage_slots,
                               ptr %storage_count)
  %stored = icmp ne ptr %storage, null
  br i1 %stored, label %fill, label %drop_array
fill:
  %number = call ptr @PyLong_FromVoidPtr(ptr %address)
  %numbered = icmp ne ptr %number, null
  br i1 %numbered, label %numbers, label %drop_storage
numbers:
  %storage_array_at = call ptr @world_storage_array_at()
  %dense_at = call ptr @world_dense_at()
  %pointer_at = call ptr @world_pointer_at()
  call void @Py_IncRef(ptr %array)
  call void @Py_IncRef(ptr %number)
  call void @set_slot(ptr %storage, ptr %storage_array_at, ptr %array)
  call void @set_slot(ptr %storage, ptr %dense_at, ptr %number)
  call void @set_slot(ptr %storage, ptr %pointer_at, ptr %number)
  %tensor_type = call ptr @world_tensor()
  %tensor_slots = call ptr @world_tensor_slots()
  %tensor_count = call ptr @world_tensor_slot_count()
  %tensor_pattern = call ptr @result_tensor(ptr %result)
  %tensor = call ptr @copy_of(ptr %tensor_type, ptr %tensor_pattern, ptr %tensor_slots,
                              ptr %tensor_count)
  %done = icmp ne ptr %tensor, null
  br i1 %done, label %finish, label %drop_storage
finish:
  %storage_at = call ptr @world_storage_at()
  %array_at = call ptr @world_array_at()
  call void @set_slot(ptr %tensor, ptr %storage_at, ptr %storage)
  call void @set_slot(ptr %tensor, ptr %array_at, ptr %array)
  ret ptr %tensor
drop_storage:
  call void @Py_DecRef(ptr %storage)
  br label %drop_array
drop_array:
  call void @Py_DecRef(ptr %array)
  br label %failed
failed:
  ret ptr null
}}

; The results of a program, whose addresses go to %pointers: a tensor, or a tuple of tensors.
define internal ptr @new_results(ptr %record, ptr %pointers) {{
entry:
  %results = call ptr @record_results(ptr %record)
  %is_single = call ptr @record_is_single(ptr %record)
  %alone = icmp ne ptr %is_single, null
  br i1 %alone, label %single, label %several
single:
  %only = call ptr @new_tensor(ptr %results, ptr %pointers)
  ret ptr %only
several:
  %result_count = call ptr @record_result_count(ptr %record)
  %count = ptrtoint ptr %result_count to i64
  %tuple = call ptr @PyTuple_New(i64 %count)
  %there = icmp ne ptr %tuple, null
  br i1 %there, label %look, label %failed
look:
  %i = phi i64 [ 0, %several ], [ %next, %keep ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %make, label %done
make:
  %next = add i64 %i, 1
  %word = mul i64 %i, {len(RESULT)}
  %result = getelementptr i64, ptr %results, i64 %word
  %pointer = getelementptr i64, ptr %pointers, i64 %i
  %tensor = call ptr @new_tensor(ptr %result, ptr %pointer)
  %made = icmp ne ptr %tensor, null
  br i1 %made, label %keep, label %drop
keep:
  %kept = call i32 @PyTuple_SetItem(ptr %tuple, i64 %i, ptr %tensor)
  br label %look
done:
  ret ptr %tuple
drop:
  call void @Py_DecRef(ptr %tuple)
  br label %failed
failed:
  ret ptr null
}}
"""
