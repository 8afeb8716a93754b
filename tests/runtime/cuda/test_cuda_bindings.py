"""What is asked of CUDA's driver: the calls in order, and the bytes of kernels' arguments."""

from __future__ import annotations

import builtins
import ctypes
import gc
import sys
from types import SimpleNamespace

import pytest

from sley.runtime.cuda import bindings
from sley.runtime.cuda.bindings import CudaDriver, load_api, open_driver
from sley.runtime.cuda.driver import Arguments, Copy, Fill, Function, Launch
from sley.runtime.cuda.errors import DeviceFull, DriverError, NoDeviceError

OK, OUT_OF_MEMORY, NO_DEVICE, ILLEGAL = 0, 2, 100, 700
NAMES = {2: b"CUDA_ERROR_OUT_OF_MEMORY", 100: b"CUDA_ERROR_NO_DEVICE"}
NAMES[700] = b"CUDA_ERROR_ILLEGAL_ADDRESS"
ATTRIBUTES = {"MULTIPROCESSOR_COUNT": 132, "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 232_448}
ATTRIBUTES |= {"L2_CACHE_SIZE": 50 << 20, "MEMORY_POOLS_SUPPORTED": 1}
ATTRIBUTES |= {"COMPUTE_CAPABILITY_MAJOR": 9, "COMPUTE_CAPABILITY_MINOR": 0}

# What the functions with results give, besides the error.
RESULTS = {
    "cuDeviceGetCount": (1,), "cuDeviceGet": (0,), "cuDevicePrimaryCtxRetain": ("context",),
    "cuStreamCreate": ("stream",), "cuDeviceGetName": (b"NVIDIA H200\0\0\0",),
    "cuDeviceTotalMem": (141 << 30,), "cuMemPoolCreate": ("pool",), "cuMemAlloc": (4096,),
    "cuMemAllocFromPoolAsync": (8192,), "cuMemGetInfo": (5, 9), "cuMemHostAlloc": (1 << 20,),
    "cuModuleLoadData": ("module",), "cuModuleGetFunction": ("function",),
    "cuGraphCreate": ("graph",), "cuGraphAddKernelNode": ("kernel node",),
    "cuGraphAddMemcpyNode": ("copy node",), "cuGraphAddMemsetNode": ("fill node",),
    "cuGraphInstantiate": ("exec",), "cuEventCreate": ("event",), "cuEventElapsedTime": (1.5,),
    "cuDriverGetVersion": (12080,),
}  # fmt: skip


class FakeApi:
    """Stands for `cuda.bindings.driver`: notes every call, and gives what it should.

    Attributes:
        calls: (name, arguments); a block of kernel arguments as the words that lie there.
        failing: name of a function -> the error that it gives.
    """

    def __init__(self, **attributes):
        self.calls = []
        self.failing = {}
        self.words = 0  # how many arguments the kernels of a test have
        self.attributes = ATTRIBUTES | attributes
        self.CUdevice_attribute = SimpleNamespace(
            **{f"CU_DEVICE_ATTRIBUTE_{name}": name for name in ATTRIBUTES}
        )
        self.CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
        self.CUevent_flags = SimpleNamespace(CU_EVENT_DISABLE_TIMING=2)
        self.CUmemAllocationType = SimpleNamespace(CU_MEM_ALLOCATION_TYPE_PINNED="pinned")
        self.CUmemLocationType = SimpleNamespace(CU_MEM_LOCATION_TYPE_DEVICE="device")
        self.CUmemPool_attribute = SimpleNamespace(CU_MEMPOOL_ATTR_RELEASE_THRESHOLD="threshold")
        self.CUfunc_cache = SimpleNamespace(CU_FUNC_CACHE_PREFER_SHARED="shared")
        self.CUfunction_attribute = SimpleNamespace(
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="dynamic"
        )
        self.CUmemorytype = SimpleNamespace(CU_MEMORYTYPE_DEVICE="device")
        self.CUmemPoolProps = lambda: SimpleNamespace(location=SimpleNamespace())
        self.CUDA_KERNEL_NODE_PARAMS = SimpleNamespace
        self.CUDA_MEMCPY3D = SimpleNamespace
        self.CUDA_MEMSET_NODE_PARAMS = SimpleNamespace
        self.cuuint64_t = int
        for name in (
            *RESULTS, "cuInit", "cuCtxSetCurrent", "cuMemPoolSetAttribute", "cuMemPoolTrimTo",
            "cuMemFree", "cuMemFreeAsync", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync",
            "cuMemcpyDtoDAsync", "cuMemsetD8Async", "cuMemsetD16Async", "cuMemsetD32Async",
            "cuMemsetD2D32Async", "cuFuncSetCacheConfig", "cuFuncSetAttribute", "cuLaunchKernel",
            "cuGraphExecKernelNodeSetParams", "cuGraphExecMemcpyNodeSetParams",
            "cuGraphExecMemsetNodeSetParams", "cuGraphLaunch", "cuGraphExecDestroy",
            "cuGraphDestroy", "cuEventRecord", "cuEventSynchronize", "cuStreamSynchronize",
            "cuStreamWaitEvent", "cuEventDestroy",
        ):  # fmt: skip
            setattr(self, name, self._function(name))

    def _function(self, name):
        def call(*arguments):
            self.calls.append((name, tuple(map(self._shown, arguments))))
            return (self.failing.get(name, OK), *RESULTS.get(name, ()))

        return call

    def _shown(self, argument):
        """Parameters of a node as a dict of what they are now."""
        if not isinstance(argument, SimpleNamespace):
            return argument
        shown = dict(vars(argument))
        if "kernelParams" in shown:
            shown["kernelParams"] = words_at(shown["kernelParams"], self.words)
        return shown

    def cuDeviceGetAttribute(self, attribute, device):
        return OK, self.attributes[attribute]

    def cuGetErrorName(self, code):
        return OK, NAMES[code]

    def cuGetErrorString(self, code):
        return OK, b"what it means"

    def since(self, number):
        return self.calls[number:]


def words_at(address, count):
    """What a driver reads: `count` pointers, and eight bytes at each."""
    pointers = (ctypes.c_uint64 * count).from_address(address)
    return [ctypes.c_uint64.from_address(pointer).value for pointer in pointers]


@pytest.fixture
def api():
    return FakeApi()


@pytest.fixture
def driver(api):
    return CudaDriver(api, 0)


def test_opening_describes_the_device(api, driver):
    info = driver.info
    assert (info.name, info.capability, info.multiprocessors) == ("NVIDIA H200", (9, 0), 132)
    assert (info.shared_bytes, info.l2_bytes) == (232_448, 50 << 20)
    assert (info.total_bytes, info.driver_version) == (141 << 30, 12080)
    assert info.target.name == "sm_90"
    names = [name for name, _ in api.calls]
    order = ["cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuStreamCreate"]
    assert names[:4] == order and names.count("cuCtxSetCurrent") == 1
    pool = dict(api.calls)["cuMemPoolCreate"][0]
    assert pool["allocType"] == "pinned" and pool["location"].id == 0
    assert dict(api.calls)["cuMemPoolSetAttribute"] == ("pool", "threshold", (1 << 64) - 1)


def test_memory_comes_from_a_pool_on_the_stream(api, driver):
    before = len(api.calls)
    assert driver.allocate(100) == 8192
    driver.free(8192)
    driver.trim()
    assert api.since(before) == [
        ("cuMemAllocFromPoolAsync", (100, "pool", "stream")),
        ("cuMemFreeAsync", (8192, "stream")),
        ("cuStreamSynchronize", ("stream",)),
        ("cuMemPoolTrimTo", ("pool", 0)),
    ]
    assert driver.memory_info() == (5, 9)


def test_a_device_without_pools():
    api = FakeApi(MEMORY_POOLS_SUPPORTED=0)
    driver = CudaDriver(api, 0)
    before = len(api.calls)
    assert driver.allocate(100) == 4096
    driver.free(4096)
    driver.trim()
    assert [name for name, _ in api.since(before)] == [
        "cuMemAlloc", "cuMemFree", "cuStreamSynchronize",
    ]  # fmt: skip


def test_a_kernel_with_much_shared_memory_is_allowed_to(api, driver):
    before = len(api.calls)
    assert driver.load(b"cubin", "k", 48 << 10) == "function"
    assert api.since(before) == [
        ("cuModuleLoadData", (b"cubin",)),
        ("cuModuleGetFunction", ("module", b"k")),
    ]
    before = len(api.calls)
    driver.load(b"cubin", "k", 100_000)
    assert api.since(before)[2:] == [
        ("cuFuncSetCacheConfig", ("function", "shared")),
        ("cuFuncSetAttribute", ("function", "dynamic", 100_000)),
    ]


FUNCTION = Function("k", "function", 128, 1000)


def test_arguments_are_eight_bytes_each():
    arguments = Arguments([1 << 40, 7, -1, 0, 0])
    assert words_at(arguments.address, 5) == [1 << 40, 7, (1 << 64) - 1, 0, 0]
    assert ctypes.sizeof(arguments.words) == 40
    launch = Launch(FUNCTION, (1, 1, 1), arguments)
    launch.place(1, 99)
    assert words_at(arguments.address, 5)[1] == 99


def test_commands_are_issued_to_the_stream(api, driver):
    before, arguments = len(api.calls), Arguments([1, 2, 0, 0])
    for command in (
        Launch(FUNCTION, (3, 2, 1), arguments),
        Copy(10, 20, 30),
        Fill(40, 5, 1, 6, 1),
        Fill(40, 5, 2, 6, 2),
        Fill(40, 5, 4, 6, 4),
        Fill(40, 5, 4, 6, 8),
    ):
        driver.issue(command)
    shape = (3, 2, 1, 128, 1, 1, 1000)
    assert api.since(before) == [
        ("cuLaunchKernel", ("function", *shape, "stream", arguments.address, 0)),
        ("cuMemcpyDtoDAsync", (10, 20, 30, "stream")),
        ("cuMemsetD8Async", (40, 5, 6, "stream")),
        ("cuMemsetD16Async", (40, 5, 6, "stream")),
        ("cuMemsetD32Async", (40, 5, 6, "stream")),
        ("cuMemsetD2D32Async", (40, 8, 5, 1, 6, "stream")),
    ]


def test_copies_and_marks(api, driver):
    before = len(api.calls)
    driver.upload(1, 2, 3)
    driver.download(4, 5, 6)
    event = driver.event()
    driver.record(event)
    driver.wait(event)
    assert driver.elapsed(event, event) == 1.5
    assert api.since(before) == [
        ("cuMemcpyHtoDAsync", (1, 2, 3, "stream")),
        ("cuMemcpyDtoHAsync", (4, 5, 6, "stream")),
        ("cuEventCreate", (0,)),
        ("cuEventRecord", ("event", "stream")),
        ("cuEventSynchronize", ("event",)),
        ("cuEventElapsedTime", ("event", "event")),
    ]


@pytest.mark.parametrize("way", ["lead", "follow"])
def test_streams_of_others_wait_by_themselves(api, driver, way):
    before = len(api.calls)
    getattr(driver, way)(77)
    first, then = ("stream", 77) if way == "lead" else (77, "stream")
    assert api.since(before) == [
        ("cuEventCreate", (2,)),
        ("cuEventRecord", ("event", first)),
        ("cuStreamWaitEvent", (then, "event", 0)),
        ("cuEventDestroy", ("event",)),
    ]


def test_a_graph_is_a_chain_of_nodes_that_can_change(api, driver):
    api.words = 3
    commands = [
        Launch(FUNCTION, (3, 2, 1), Arguments([77, 0, 0])),
        Copy(10, 20, 30),
        Fill(40, 5, 4, 6, 8),
        Fill(40, 5, 2, 6, 2),
    ]
    before = len(api.calls)
    graph = driver.graph(commands)
    (_, kernel, copy, spread, dense, _), rest = api.since(before)[:6], api.since(before)[6:]
    parameters = {
        "func": "function", "gridDimX": 3, "gridDimY": 2, "gridDimZ": 1, "blockDimX": 128,
        "blockDimY": 1, "blockDimZ": 1, "sharedMemBytes": 1000, "kernelParams": [77, 0, 0],
    }  # fmt: skip
    assert kernel == ("cuGraphAddKernelNode", ("graph", [], 0, parameters))
    memcpy = {
        "srcMemoryType": "device", "dstMemoryType": "device", "srcDevice": 20, "dstDevice": 10,
        "WidthInBytes": 30, "Height": 1, "Depth": 1,
    }  # fmt: skip
    chained = ("graph", ["kernel node"], 1, memcpy, "context")
    assert copy == ("cuGraphAddMemcpyNode", chained)
    fill = {"dst": 40, "value": 5, "elementSize": 4, "pitch": 8, "width": 1, "height": 6}
    assert spread == ("cuGraphAddMemsetNode", ("graph", ["copy node"], 1, fill, "context"))
    fill = {"dst": 40, "value": 5, "elementSize": 2, "pitch": 2, "width": 6, "height": 1}
    assert dense == ("cuGraphAddMemsetNode", ("graph", ["fill node"], 1, fill, "context"))
    assert rest == []

    before = len(api.calls)
    commands[0].place(0, 88)
    commands[1].place(0, 11)
    for number in range(3):
        graph.update(number)
    graph.launch()
    changed = api.since(before)
    parameters["kernelParams"], memcpy["dstDevice"] = [88, 0, 0], 11
    assert changed[0] == ("cuGraphExecKernelNodeSetParams", ("exec", "kernel node", parameters))
    node = ("exec", "copy node", memcpy, "context")
    assert changed[1] == ("cuGraphExecMemcpyNodeSetParams", node)
    assert changed[2][0] == "cuGraphExecMemsetNodeSetParams"
    assert changed[3] == ("cuGraphLaunch", ("exec", "stream"))


def test_a_graph_is_given_back(api, driver):
    graph = driver.graph([Copy(1, 2, 3)])
    before = len(api.calls)
    del graph
    gc.collect()
    assert api.since(before) == [("cuGraphExecDestroy", ("exec",)), ("cuGraphDestroy", ("graph",))]


def test_a_graph_that_cannot_be_made_is_given_back(api, driver):
    api.failing["cuGraphAddMemcpyNode"] = ILLEGAL
    before = len(api.calls)
    with pytest.raises(DriverError, match="cuGraphAddMemcpyNode: CUDA_ERROR_ILLEGAL_ADDRESS"):
        driver.graph([Copy(1, 2, 3)])
    assert api.since(before)[-1] == ("cuGraphDestroy", ("graph",))


def test_errors_have_names(api, driver):
    api.failing = {"cuMemAllocFromPoolAsync": OUT_OF_MEMORY, "cuStreamSynchronize": ILLEGAL}
    with pytest.raises(DeviceFull, match="CUDA_ERROR_OUT_OF_MEMORY"):
        driver.allocate(5)
    with pytest.raises(DriverError) as caught:
        driver.synchronize()
    assert (caught.value.name, caught.value.call) == (
        "CUDA_ERROR_ILLEGAL_ADDRESS", "cuStreamSynchronize",
    )  # fmt: skip
    assert "what it means" in str(caught.value)


def installed(monkeypatch, api):
    """Makes `from cuda.bindings import driver` find `api`."""
    package = SimpleNamespace(driver=api)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=package))
    monkeypatch.setitem(sys.modules, "cuda.bindings", package)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", api)


def test_a_driver_is_found(monkeypatch, api):
    installed(monkeypatch, api)
    assert open_driver().info.name == "NVIDIA H200"
    assert api.calls[0] == ("cuInit", (0,))
    with pytest.raises(NoDeviceError, match="no GPU number 1"):
        open_driver(1)


def test_no_bindings(monkeypatch):
    found = builtins.__import__

    def missing(name, *rest):
        if name.startswith("cuda"):
            raise ImportError(f"No module named {name!r}")
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(NoDeviceError, match=r"cuda-bindings is not installed.*sley\[cuda\]"):
        load_api()


def test_no_driver(monkeypatch, api):
    def init(flags):
        raise RuntimeError("no libcuda.so.1")

    api.cuInit = init
    installed(monkeypatch, api)
    with pytest.raises(NoDeviceError, match=r"no NVIDIA driver was found: no libcuda\.so\.1"):
        load_api()


def test_no_device(monkeypatch, api):
    api.failing["cuInit"] = NO_DEVICE
    installed(monkeypatch, api)
    with pytest.raises(NoDeviceError, match="found no GPU: CUDA_ERROR_NO_DEVICE"):
        load_api()
    assert bindings.count_devices(api) == 1
