"""Compiles one function into a loop over arrays, for measure.py and the tests."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np

from . import ARITY, function

DTYPES: dict[str, np.dtype] = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}


def loop_module(
    name: str, dtype: str, lanes: int, fma: bool = True, avx512: bool = False, symbol: str = "loop"
) -> str:
    """A module whose `symbol(x, y, out, blocks)` applies the function block by block."""
    vec = function(name, dtype, lanes, fma, avx512)
    element = "float" if dtype == "f32" else "double"
    kind = element if lanes == 1 else f"<{lanes} x {element}>"
    align = DTYPES[dtype].itemsize
    second = f", {kind} %b" if ARITY[name] == 2 else ""
    declarations = "\n".join(vec.declarations)
    return f"""{declarations}
{vec.text}
define void @{symbol}(ptr noalias %x, ptr noalias %y, ptr noalias %out, i64 %blocks) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %px = getelementptr {kind}, ptr %x, i64 %i
  %py = getelementptr {kind}, ptr %y, i64 %i
  %po = getelementptr {kind}, ptr %out, i64 %i
  %a = load {kind}, ptr %px, align {align}
  %b = load {kind}, ptr %py, align {align}
  %r = call {kind} @{vec.symbol}({kind} %a{second})
  store {kind} %r, ptr %po, align {align}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %blocks
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


def target_machine(cpu: str | None = None, triple: str | None = None) -> llvm.TargetMachine:
    """A machine for running on this CPU, or for reading the code of the one named."""
    if cpu is not None:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        target = llvm.Target.from_triple(triple or llvm.get_process_triple())
        return target.create_target_machine(cpu=cpu, opt=3, codemodel="default")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten() + ",-prefer-256-bit",
        opt=3,
        jit=True,
        codemodel="jitdefault",
    )


def host_has_avx512() -> bool:
    return bool(llvm.get_host_cpu_features().get("avx512f"))


def optimise(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_unrolling = False
    llvm.create_pass_builder(machine, options).getModulePassManager().run(
        module, llvm.create_pass_builder(machine, options)
    )
    return module


class ArrayFunction:
    """Callable on numpy arrays: pads to whole blocks, runs the compiled loop."""

    def __init__(
        self, name: str, dtype: str, lanes: int, fma: bool = True, avx512: bool = False
    ) -> None:
        machine = target_machine()
        module = optimise(loop_module(name, dtype, lanes, fma, avx512), machine)
        self.assembly = machine.emit_assembly(module)
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        pointer = ctypes.c_void_p
        self.loop = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, ctypes.c_int64)(
            self.engine.get_function_address("loop")
        )
        self.lanes, self.dtype = lanes, DTYPES[dtype]

    def __call__(self, x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
        x = np.asarray(x, self.dtype)
        blocks = -(-x.size // self.lanes)
        padded = [np.ones(blocks * self.lanes, self.dtype) for _ in range(3)]
        padded[0][: x.size] = x.ravel()
        if y is not None:
            padded[1][: x.size] = np.asarray(y, self.dtype).ravel()
        self.loop(*(p.ctypes.data for p in padded), blocks)
        return padded[2][: x.size].reshape(x.shape)
