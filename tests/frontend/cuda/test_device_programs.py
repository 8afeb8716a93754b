"""Compiled functions of tensors on a (simulated) GPU."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley

F = sley.nn.functional


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


def draw(*shape: int, seed: int = 0) -> sley.Tensor:
    return sley.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def training(device: str, is_compiled: bool, optimizer=sley.optim.AdamW, steps: int = 5) -> list:
    sley.manual_seed(0)
    model = sley.nn.Sequential(
        sley.nn.Linear(4, 8), sley.nn.GELU(), sley.nn.Dropout(0.1), sley.nn.BatchNorm1d(8),
        sley.nn.Linear(8, 3),
    ).to(device)  # fmt: skip
    chosen = optimizer(model.parameters(), lr=1e-2)
    rate = sley.optim.lr_scheduler.ExponentialLR(chosen, 0.5)

    def step(x: sley.Tensor, y: sley.Tensor) -> sley.Tensor:
        chosen.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        sley.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        chosen.step()
        return loss

    run = sley.compile(step) if is_compiled else step
    x, y = draw(6, 4).to(device), sley.tensor([0, 1, 2, 0, 1, 2]).to(device)
    losses = []
    for _ in range(steps):
        losses.append(run(x, y).item())
        rate.step()
    if is_compiled:
        assert len(run.programs) == 1
    state = [value.cpu().numpy() for value in model.state_dict().values()]
    return [np.array(losses), *state]


@pytest.mark.parametrize("name", ["AdamW", "SGD", "RMSprop"])
def test_training_is_that_of_the_processor(name):
    kind = getattr(sley.optim, name)
    expected = training("cpu", False, kind)
    for is_compiled in (False, True):
        for found, wanted in zip(training("cuda", is_compiled, kind), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_step_is_one_graph_whose_addresses_stay(gpu):
    weights = [draw(5, 5, seed=k).to("cuda").requires_grad_() for k in range(4)]
    chosen = sley.optim.SGD(weights, lr=0.1)

    @sley.compile
    def step(x):
        chosen.zero_grad()
        for weight in weights:
            x = (x @ weight).tanh()
        loss = x.square().sum()
        loss.backward()
        chosen.step()
        return loss

    x = draw(3, 5).to("cuda")
    for _ in range(4):
        loss = step(x)
    issued, replays, updates = gpu.driver.issued, gpu.driver.replays, gpu.driver.updates
    for _ in range(6):
        loss = step(x)
    assert gpu.driver.issued == issued and gpu.driver.replays == replays + 6
    # The loss, which is held, lies elsewhere each time.
    assert gpu.driver.updates <= updates + 2 * 6
    assert np.isfinite(loss.item())


def test_results_are_not_overwritten():
    double = sley.compile(lambda x: x * 2)
    x = draw(4).to("cuda")
    results = [double(x + k) for k in range(5)]
    for k, result in enumerate(results):
        np.testing.assert_allclose(result.cpu().numpy(), ((x + k) * 2).cpu().numpy())


def test_arguments_of_all_kinds():
    @sley.compile
    def f(x, scale, pair):
        return x * scale + pair["a"] - pair["b"][0], x.device.type

    host = draw(4, 6)
    x = host.to("cuda")
    pieces = [lambda t: t, lambda t: t.T, lambda t: t[::2, 1:], lambda t: t[1], lambda t: t[:0]]
    for scale in (2.0, 3.0, 7):
        for piece in pieces:
            a, wanted = piece(x), piece(host)
            found, device = f(a, scale, {"a": a, "b": [sley.tensor(1.5)]})
            assert device == "cuda" and found.device.type == "cuda"
            np.testing.assert_allclose(
                found.cpu().numpy(), (wanted * scale + wanted - 1.5).numpy(), rtol=1e-6
            )


def test_arguments_are_written():
    @sley.compile
    def bump(x):
        x.add_(1)
        x[0] = 5
        return x.sum()

    for piece in (lambda t: t, lambda t: t.T, lambda t: t[1:3, ::2]):
        host = draw(4, 6)
        x = host.to("cuda")
        found, wanted = bump(piece(x)), bump(piece(host))
        np.testing.assert_allclose(x.cpu().numpy(), host.numpy(), rtol=1e-6)
        assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_one_function_on_both_devices():
    f = sley.compile(lambda x: x.sigmoid().sum(0))
    host = draw(5, 3)
    on_gpu, on_host = f(host.to("cuda")), f(host)
    assert on_gpu.device.type == "cuda" and on_host.device.type == "cpu"
    np.testing.assert_allclose(on_gpu.cpu().numpy(), on_host.numpy(), rtol=1e-5)
    assert len(f.programs) == 2


def test_captured_tensors_move_along():
    model = sley.nn.Linear(3, 2)
    f = sley.compile(lambda x: model(x))
    x = draw(4, 3)
    expected = f(x)
    model.to("cuda")
    found = f(x.to("cuda"))
    np.testing.assert_allclose(found.detach().cpu().numpy(), expected.detach().numpy(), rtol=1e-5)
    with sley.no_grad():
        model.weight.mul_(2)
    np.testing.assert_allclose(
        f(x.to("cuda")).detach().cpu().numpy(), model(x.to("cuda")).detach().cpu().numpy(),
        rtol=1e-5,
    )  # fmt: skip


def test_gradients_from_outside():
    weight = draw(4, 3).to("cuda").requires_grad_()
    x = draw(5, 4, seed=1).to("cuda")
    f = sley.compile(lambda x: ((x @ weight).tanh() * x[:, :1]).sum())
    for _ in range(2):
        weight.grad = None
        f(x).backward()
        found, weight.grad = weight.grad, None
        ((x @ weight).tanh() * x[:, :1]).sum().backward()
        np.testing.assert_allclose(
            found.cpu().numpy(), weight.grad.cpu().numpy(), rtol=1e-4, atol=1e-6
        )


def test_draws_are_those_of_the_processor():
    f = sley.compile(lambda x: F.dropout(x, 0.5) + sley.rand(6, device=x.device))
    results = []
    for device in ("cpu", "cuda"):
        sley.manual_seed(7)
        x = sley.ones(6, device=device)
        results.append([f(x).cpu().numpy() for _ in range(3)] + [sley.rand(2).numpy()])
    for host, device in zip(*results, strict=True):
        np.testing.assert_allclose(device, host, rtol=1e-6)


def test_numbers_that_a_program_changes_wait_for_nobody():
    count, x = sley.tensor(0), draw(3).to("cuda")

    @sley.compile
    def f(x):
        count.add_(2)
        return x + count

    for k in range(1, 4):
        np.testing.assert_allclose(f(x).cpu().numpy(), (x + 2 * k).cpu().numpy(), rtol=1e-6)
        assert count.item() == 2 * k


def test_what_follows_from_the_gpu_cannot_be_written_to_the_processor():
    total = sley.tensor(0.0)

    @sley.compile
    def f(x):
        total.add_(x.sum())
        return x

    with pytest.raises(sley.TraceError, match="on cpu is written in a function that runs on cuda"):
        f(sley.ones(3, device="cuda"))
    assert total.item() == 0


def test_memory_of_the_processor_is_an_error_with_its_line():
    f = sley.compile(lambda a, b: a + b)
    with pytest.raises(sley.DeviceError, match=r"argument 1, a tensor f32.3., lies on cpu"):
        f(sley.ones(3, device="cuda"), sley.ones(3))
    mask = sley.ones(3)
    g = sley.compile(lambda a: a * mask)
    with pytest.raises(sley.DeviceError, match=r"a tensor f32.3. on cpu is used") as caught:
        g(sley.ones(3, device="cuda"))
    assert "a * mask" in str(caught.value)


def test_a_function_may_move_its_arguments():
    weight = draw(3, 2).to("cuda")

    @sley.compile
    def f(x):
        x = x.to("cuda")
        assert x.device.type == "cuda"
        return x @ weight

    for seed in range(3):
        x = draw(4, 3, seed=seed)
        np.testing.assert_allclose(
            f(x).cpu().numpy(), (x @ weight.cpu()).numpy(), rtol=1e-5, atol=1e-6
        )
    assert len(f.programs) == 1
    with pytest.raises(sley.TraceError, match="while a function is recorded"):
        sley.compile(lambda x: (x * 2).cpu())(weight)


def test_new_tensors_decide_the_device():
    f = sley.compile(lambda: sley.arange(4, device="cuda") * 2)
    assert f().tolist() == [0, 2, 4, 6] and f().device.type == "cuda"


def test_wrong_indices_are_told_by_a_later_call():
    table = sley.nn.Embedding(5, 3).to("cuda")
    f = sley.compile(lambda i: table(i) * 2)
    good, bad = sley.tensor([1, 2], device="cuda"), sley.tensor([1, 7], device="cuda")
    f(good)
    result = f(bad)
    with pytest.raises(sley.IndexingError, match=r"index 7 is not in 0 \.\. 4") as caught:
        result.cpu()
    assert "table(i) * 2" in str(caught.value)
    np.testing.assert_allclose(
        f(good).detach().cpu().numpy(), (table(good) * 2).detach().cpu().numpy(), rtol=1e-6
    )
    f(sley.tensor([-1, 0], device="cuda"))
    with pytest.raises(sley.IndexingError, match="index -1"):
        sley.cuda.synchronize()


def test_wrong_indices_are_told_at_once_where_everything_is_waited_for(gpu):
    gpu.device.blocking = True
    x = draw(5, 3).to("cuda")
    f = sley.compile(lambda i: x[i])
    with pytest.raises(sley.IndexingError, match="index 9"):
        f(sley.tensor([9], device="cuda"))


def test_sizes_that_vary():
    f = sley.compile(lambda x: F.softmax(x, -1).sum(0))
    for rows in (3, 5, 7, 2):
        x = draw(rows, 6, seed=rows)
        np.testing.assert_allclose(
            f(x.to("cuda")).cpu().numpy(), F.softmax(x, -1).sum(0).numpy(), rtol=1e-5
        )
    assert len(f.programs) == 2


def test_what_is_read_of_a_program():
    f = sley.compile(lambda x: (x * 2).sum(0))
    x = draw(8, 4).to("cuda")
    lowered = f.lower(x)
    assert lowered.device == "cuda" and "@triton.jit" in lowered.text(level="triton")
    assert "reduce" in lowered.text(level="kernel") and len(lowered.kernels) >= 1
    with pytest.raises(sley.ArgumentError, match="level 'llvm' shows programs of the processor"):
        lowered.text(level="llvm")
