"""CUDA's driver through NVIDIA's cuda-bindings, which is loaded at first use."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

from .driver import Command, Copy, DeviceInfo, Driver, Fill, Launch
from .errors import DeviceFull, DriverError, NoDeviceError

_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
_KEEP_ALL = (1 << 64) - 1
_NAME_BYTES = 256
_STATIC_SHARED = 48 << 10  # what a kernel may use without being allowed to

_current = threading.local()  # whose context each thread has


def load_api() -> Any:
    """`cuda.bindings.driver`, with the driver initialised.

    Raises:
        NoDeviceError: the package or the driver is not there, or no GPU is.
    """
    try:
        from cuda.bindings import driver as api
    except ImportError as error:
        raise NoDeviceError(f"cuda-bindings is not installed ({error}): sley[cuda]") from None
    try:
        (code,) = api.cuInit(0)
    except RuntimeError as error:  # of the bindings: there is no libcuda
        raise NoDeviceError(f"no NVIDIA driver was found: {error}") from None
    if int(code):
        raise NoDeviceError(f"the NVIDIA driver found no GPU: {_name_of(api, code)}")
    return api


def open_driver(ordinal: int = 0) -> Driver:
    """GPU number `ordinal` of this machine.

    Raises:
        NoDeviceError: there is none.
    """
    api = load_api()
    if not 0 <= ordinal < count_devices(api):
        raise NoDeviceError(f"there is no GPU number {ordinal}")
    return CudaDriver(api, ordinal)


def count_devices(api: Any) -> int:
    """The number of GPUs."""
    return int(check(api, "cuDeviceGetCount", api.cuDeviceGetCount()))


def check(api: Any, call: str, result: Sequence[Any]) -> Any:
    """What a call gave: nothing, one value or a tuple.

    Raises:
        DriverError: it failed.
    """
    code = result[0]
    if int(code):
        name = _name_of(api, code)
        kind = DeviceFull if name == _OUT_OF_MEMORY else DriverError
        raise kind(name, call, _text_of(api, code))
    if len(result) == 2:
        return result[1]
    return tuple(result[1:])


def _name_of(api: Any, code: Any) -> str:
    found, name = api.cuGetErrorName(code)
    return str(code) if int(found) or not name else name.decode()


def _text_of(api: Any, code: Any) -> str:
    found, text = api.cuGetErrorString(code)
    return "" if int(found) or not text else text.decode()


class CudaDriver:
    """A GPU behind the driver's API: its primary context, which other libraries of the process
    share, one stream, and a pool of memory."""

    def __init__(self, api: Any, ordinal: int) -> None:
        self.api = api
        self._device = self._do("cuDeviceGet", ordinal)
        self._context = self._do("cuDevicePrimaryCtxRetain", self._device)
        self.attach()
        self.stream = self._do("cuStreamCreate", int(api.CUstream_flags.CU_STREAM_NON_BLOCKING))
        self.info = self._describe()
        self._pool = self._make_pool() if self._attribute("MEMORY_POOLS_SUPPORTED") else None

    def _do(self, call: str, *arguments: Any) -> Any:
        return check(self.api, call, getattr(self.api, call)(*arguments))

    def _attribute(self, name: str) -> int:
        key = getattr(self.api.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self._do("cuDeviceGetAttribute", key, self._device))

    def _describe(self) -> DeviceInfo:
        name = self._do("cuDeviceGetName", _NAME_BYTES, self._device)
        major, minor = (
            self._attribute(f"COMPUTE_CAPABILITY_{part}") for part in ("MAJOR", "MINOR")
        )
        return DeviceInfo(
            name.partition(b"\0")[0].decode(),
            (major, minor),
            self._attribute("MULTIPROCESSOR_COUNT"),
            self._attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
            self._attribute("L2_CACHE_SIZE"),
            int(self._do("cuDeviceTotalMem", self._device)),
            int(self._do("cuDriverGetVersion")),
        )

    def _make_pool(self) -> Any:
        """A pool of sley's own, which keeps what is freed until it is trimmed."""
        api = self.api
        properties = api.CUmemPoolProps()
        properties.allocType = api.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
        properties.location.type = api.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        properties.location.id = int(self._device)
        pool = self._do("cuMemPoolCreate", properties)
        threshold = api.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        self._do("cuMemPoolSetAttribute", pool, threshold, api.cuuint64_t(_KEEP_ALL))
        return pool

    def attach(self) -> None:
        if getattr(_current, "driver", None) is self:
            return
        self._do("cuCtxSetCurrent", self._context)
        _current.driver = self

    # Memory.

    def allocate(self, nbytes: int) -> int:
        if self._pool is None:
            return int(self._do("cuMemAlloc", nbytes))
        return int(self._do("cuMemAllocFromPoolAsync", nbytes, self._pool, self.stream))

    def free(self, address: int) -> None:
        if self._pool is None:
            self._do("cuMemFree", address)
        else:
            self._do("cuMemFreeAsync", address, self.stream)

    def trim(self) -> None:
        self.synchronize()
        if self._pool is not None:
            self._do("cuMemPoolTrimTo", self._pool, 0)

    def memory_info(self) -> tuple[int, int]:
        free, total = self._do("cuMemGetInfo")
        return int(free), int(total)

    def allocate_host(self, nbytes: int) -> int:
        return int(self._do("cuMemHostAlloc", nbytes, 0))

    def upload(self, target: int, source: int, nbytes: int) -> None:
        self._do("cuMemcpyHtoDAsync", target, source, nbytes, self.stream)

    def download(self, target: int, source: int, nbytes: int) -> None:
        self._do("cuMemcpyDtoHAsync", target, source, nbytes, self.stream)

    # Kernels.

    def load(self, cubin: bytes, symbol: str, shared_bytes: int) -> Any:
        api = self.api
        module = self._do("cuModuleLoadData", cubin)  # stays as long as the process
        function = self._do("cuModuleGetFunction", module, symbol.encode())
        if shared_bytes > _STATIC_SHARED:
            prefer = api.CUfunc_cache.CU_FUNC_CACHE_PREFER_SHARED
            self._do("cuFuncSetCacheConfig", function, prefer)
            limit = api.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._do("cuFuncSetAttribute", function, limit, shared_bytes)
        return function

    def issue(self, command: Command) -> None:
        if isinstance(command, Launch):
            function = command.function
            self._do(
                "cuLaunchKernel",
                *(function.handle, *command.grid, function.threads, 1, 1),
                *(function.shared_bytes, self.stream, command.arguments.address, 0),
            )
        elif isinstance(command, Copy):
            parts = (command.target, command.source, command.nbytes)
            self._do("cuMemcpyDtoDAsync", *parts, self.stream)
        else:
            bits = 8 * command.width
            if command.stride == command.width:
                parts = (command.target, command.value, command.count)
                self._do(f"cuMemsetD{bits}Async", *parts, self.stream)
            else:
                rows = (command.target, command.stride, command.value, 1, command.count)
                self._do(f"cuMemsetD2D{bits}Async", *rows, self.stream)

    def graph(self, commands: Sequence[Command]) -> CudaGraph:
        return CudaGraph(self, commands)

    # Time.

    def event(self) -> Any:
        return self._do("cuEventCreate", 0)

    def record(self, event: Any) -> None:
        self._do("cuEventRecord", event, self.stream)

    def wait(self, event: Any) -> None:
        self._do("cuEventSynchronize", event)

    def passed(self, event: Any) -> bool:
        try:
            self._do("cuEventQuery", event)
        except DriverError as error:
            if error.name != "CUDA_ERROR_NOT_READY":
                raise
            return False
        return True

    def lead(self, stream: int) -> None:
        self._order(self.stream, stream)

    def follow(self, stream: int) -> None:
        self._order(stream, self.stream)

    def _order(self, first: Any, then: Any) -> None:
        """What stream `then` is given from now on runs after what `first` was given."""
        mark = self._do("cuEventCreate", int(self.api.CUevent_flags.CU_EVENT_DISABLE_TIMING))
        self._do("cuEventRecord", mark, first)
        self._do("cuStreamWaitEvent", then, mark, 0)
        self._do("cuEventDestroy", mark)  # goes once it is not waited for any more

    def elapsed(self, first: Any, last: Any) -> float:
        return float(self._do("cuEventElapsedTime", first, last))

    def synchronize(self) -> None:
        self._do("cuStreamSynchronize", self.stream)


class CudaGraph:
    """Commands as a graph of the driver: a chain of nodes, whose addresses can be changed one by
    one. It is built node by node rather than captured, so that each command's node is known, and
    what other threads and libraries do meanwhile does not matter."""

    def __init__(self, driver: CudaDriver, commands: Sequence[Command]) -> None:
        self._driver = driver
        self._api = driver.api
        self._commands = tuple(commands)
        self._nodes: list[Any] = []
        graph = driver._do("cuGraphCreate", 0)
        try:
            for command in self._commands:
                self._nodes.append(self._add(graph, command))
            self._exec = driver._do("cuGraphInstantiate", graph, 0)
        except DriverError:
            driver._do("cuGraphDestroy", graph)
            raise
        # The nodes are named when they change, so the graph lives as long as what was made of it.
        finish = weakref.finalize(self, _destroy, self._api, self._exec, graph)
        finish.atexit = False  # the driver takes all back when the process ends

    def update(self, number: int) -> None:
        node, command = self._nodes[number], self._commands[number]
        kind, parameters = self._parameters(command)
        context = () if kind == "Kernel" else (self._driver._context,)
        call = f"cuGraphExec{kind}NodeSetParams"
        self._driver._do(call, self._exec, node, parameters, *context)

    def launch(self) -> None:
        self._driver._do("cuGraphLaunch", self._exec, self._driver.stream)

    def _add(self, graph: Any, command: Command) -> Any:
        kind, parameters = self._parameters(command)
        before = self._nodes[-1:]
        context = () if kind == "Kernel" else (self._driver._context,)
        call = f"cuGraphAdd{kind}Node"
        return self._driver._do(call, graph, before, len(before), parameters, *context)

    def _parameters(self, command: Command) -> tuple[str, Any]:
        if isinstance(command, Launch):
            return "Kernel", self._kernel(command)
        if isinstance(command, Copy):
            return "Memcpy", self._copy(command)
        return "Memset", self._fill(command)

    def _kernel(self, command: Launch) -> Any:
        parameters, function = self._api.CUDA_KERNEL_NODE_PARAMS(), command.function
        parameters.func = function.handle
        parameters.gridDimX, parameters.gridDimY, parameters.gridDimZ = command.grid
        parameters.blockDimX, parameters.blockDimY, parameters.blockDimZ = function.threads, 1, 1
        parameters.sharedMemBytes = function.shared_bytes
        parameters.kernelParams = command.arguments.address
        return parameters

    def _copy(self, command: Copy) -> Any:
        parameters = self._api.CUDA_MEMCPY3D()
        device = self._api.CUmemorytype.CU_MEMORYTYPE_DEVICE
        parameters.srcMemoryType = parameters.dstMemoryType = device
        parameters.srcDevice, parameters.dstDevice = command.source, command.target
        parameters.WidthInBytes, parameters.Height, parameters.Depth = command.nbytes, 1, 1
        return parameters

    def _fill(self, command: Fill) -> Any:
        parameters = self._api.CUDA_MEMSET_NODE_PARAMS()
        parameters.dst, parameters.value = command.target, command.value
        parameters.elementSize, parameters.pitch = command.width, command.stride
        if command.stride == command.width:
            parameters.width, parameters.height = command.count, 1
        else:
            parameters.width, parameters.height = 1, command.count
        return parameters


def _destroy(api: Any, exec: Any, graph: Any) -> None:
    # Nothing can be done about an error here: it is that of a kernel, and shows elsewhere.
    api.cuGraphExecDestroy(exec)
    api.cuGraphDestroy(graph)
