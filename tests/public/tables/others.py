"""What has no samples, and why: what it is and where it is tested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

F = "tests/frontend/"
OTHERS: dict[str, str] = {}


def _are(kind: str, names: Iterable[str], prefix: str = "") -> None:
    for name in names:
        OTHERS[f"{prefix}{name}"] = kind


def _everything(*groups: str) -> Iterator[str]:
    for group in groups:
        yield from group.split()


# ------------------------------------------------------------------------------------------ sley

_are("an error type: test_errors.py", _everything(
    "ArgumentError AutogradError DTypeError IndexingError LinAlgError LoadError ShapeError "
    "SleyError TraceError UnsupportedError"))  # fmt: skip
_are("a dtype: test_every_dtype.py", _everything(
    "bfloat16 bool cdouble cfloat complex64 complex128 double dtype float float16 float32 "
    "float64 half int int8 int16 int32 int64 long short uint8 uint16 uint32 uint64"))  # fmt: skip
_are("a dtype: test_float8.py", _everything("float8_e4m3fn float8_e5m2"))
_are(
    "a rule of dtypes: test_promotion.py",
    _everything(
        "can_cast promote_types result_type finfo iinfo get_default_dtype set_default_dtype"
    ),
)
_are(
    "random state, or draws: test_random.py",
    _everything("Generator get_rng_state set_rng_state initial_seed seed manual_seed randint_like"),
)
_are("a context or a switch: test_context.py", _everything(
    "enable_grad no_grad inference_mode is_grad_enabled is_inference_mode_enabled "
    "set_grad_enabled get_float32_matmul_precision set_float32_matmul_precision "
    "use_deterministic_algorithms"))  # fmt: skip
_are(
    "mixed precision: test_amp.py",
    _everything("autocast get_autocast_dtype is_autocast_available is_autocast_enabled"),
)
_are(
    "a transformation: the same in sley.func",
    _everything("grad hessian jacfwd jacrev jvp value_and_grad vjp vmap"),
)
_are("a constant: test_context.py", _everything("e inf nan newaxis pi"))
_are("a constructor: test_typed.py", _everything(
    "BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor "
    "IntTensor LongTensor ShortTensor autograd.Variable"))  # fmt: skip
_are("factors: test_linalg_names.py", _everything(
    "cholesky_inverse cholesky_solve Tensor.cholesky_inverse Tensor.cholesky_solve"))  # fmt: skip
_are("pieces of a signal: test_spectra.py", _everything("stft istft Tensor.stft Tensor.istft"))
_are("threads of kernels: test_threads.py", _everything("get_num_threads set_num_threads"))
OTHERS.update({
    "Size": "a class: test_tensor.py", "Tensor": "a class: its methods below",
    "compile": "compiles: test_compile*.py", "device": "a class: test_tensor.py",
    "empty": "elements of any value: test_tensor.py",
    "from_dlpack": "other libraries: test_interop.py", "load": "files: test_saving*.py",
    "save": "files: test_saving*.py", "set_printoptions": "a setting: test_printing.py",
})  # fmt: skip

# ---------------------------------------------------------------------------------------- autograd

_are("autograd: test_autograd_core.py", _everything(
    "backward enable_grad grad grad_fn inference_mode no_grad register_hook retain_grad "
    "set_grad_enabled tensor_backward GradFn Handle detect_anomaly is_anomaly_enabled "
    "set_detect_anomaly"), "autograd.")  # fmt: skip
_are(
    "a gradient of one's own: test_autograd_function.py",
    _everything("Function FunctionCtx once_differentiable"),
    "autograd.",
)
_are("a check: test_gradcheck.py", _everything("GradcheckError gradcheck gradgradcheck"),
     "autograd.")  # fmt: skip

# ---------------------------------------------------------------------------------------------- nn

_are("a base or a container: test_nn_modules.py", _everything(
    "Buffer Module ModuleDict ModuleList Parameter ParameterDict ParameterList Sequential "
    "UninitializedBuffer UninitializedParameter"), "nn.")  # fmt: skip
_are("a base of layers: test_nn_recurrent.py", _everything("RNNBase RNNCellBase"), "nn.")
_are("writes parameters: test_nn_modules.py, test_nn_further.py", _everything(
    "calculate_gain constant_ dirac_ eye_ fans kaiming_normal_ kaiming_uniform_ normal_ ones_ "
    "orthogonal_ sparse_ trunc_normal_ uniform_ xavier_normal_ xavier_uniform_ zeros_"),
     "nn.init.")  # fmt: skip
_are("changes gradients or modules: test_optim.py, test_nn_further.py", _everything(
    "clip_grad_norm_ clip_grad_value_ clip_grads_with_norm_ get_total_norm parameters_to_vector "
    "vector_to_parameters remove_spectral_norm remove_weight_norm spectral_norm weight_norm"),
     "nn.utils.")  # fmt: skip
_are("packed sequences: test_nn_recurrent.py", _everything(
    "PackedSequence pack_padded_sequence pack_sequence pad_packed_sequence pad_sequence "
    "unpack_sequence unpad_sequence"), "nn.utils.rnn.")  # fmt: skip
_are("changes modules: test_nn_further.py, test_nn_parametrize.py", _everything(
    "orthogonal spectral_norm weight_norm"), "nn.utils.parametrizations.")  # fmt: skip

# ------------------------------------------------------------------------------------------- optim

_are("an optimizer: test_optim.py, test_optim_further.py, test_optim_complex.py", _everything(
    "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS NAdam Optimizer ParamGroup RAdam "
    "RMSprop Rprop SGD SparseAdam"),
     "optim.")  # fmt: skip
_are("a schedule: test_optim.py, test_optim_further.py", _everything(
    "ChainedScheduler ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR "
    "ExponentialLR LRScheduler LambdaLR LinearLR MultiStepLR MultiplicativeLR OneCycleLR "
    "PolynomialLR ReduceLROnPlateau SequentialLR StepLR"), "optim.lr_scheduler.")  # fmt: skip
_are("averages of weights: test_optim_further.py", _everything(
    "AveragedModel SWALR get_ema_avg_fn get_ema_multi_avg_fn get_swa_avg_fn get_swa_multi_avg_fn "
    "update_bn"), "optim.swa_utils.")  # fmt: skip

# ------------------------------------------------------------------------------ data, metrics, amp

for _prefix in ("data.", "utils.data."):
    _are("data: test_data.py, test_data_workers.py", _everything(
        "BatchSampler ChainDataset ConcatDataset DataLoader Dataset IterableDataset RandomSampler "
        "Sampler SequentialSampler StackDataset Subset SubsetRandomSampler TensorDataset "
        "WeightedRandomSampler WorkerError WorkerInfo default_collate default_convert "
        "get_worker_info random_split"), _prefix)  # fmt: skip
    _are(
        "a data set: test_data_images.py, test_digits.py",
        _everything("CIFAR10 CIFAR100 Digits FashionMNIST MNIST"),
        _prefix,
    )
_are("changes examples: test_data_transforms.py", _everything(
    "CenterCrop ColorJitter Compose ConvertImageDtype CutMix Cutout Grayscale Lambda MixUp "
    "Normalize Pad RandomApply RandomChoice RandomCrop RandomErasing RandomHorizontalFlip "
    "RandomResizedCrop RandomRotation RandomVerticalFlip Resize ToTensor Transform"),
     "data.transforms.")  # fmt: skip
_are("a distribution: test_distributions.py", _everything(
    "Bernoulli Categorical Cauchy Distribution Exponential Geometric Gumbel HalfNormal Independent "
    "Laplace LogNormal MultivariateNormal Normal OneHotCategorical Uniform kl_divergence "
    "register_kl"), "distributions.")  # fmt: skip
OTHERS["linalg.LinAlgError"] = "an error: test_linalg.py"
OTHERS["metrics.UndefinedMetricWarning"] = "a warning: test_metrics.py"
_are("splits: test_metrics.py", _everything("kfold stratified_kfold train_test_split"),
     "model_selection.")  # fmt: skip
_are(
    "mixed precision: test_amp.py",
    _everything("GradScaler autocast get_autocast_dtype is_autocast_available is_autocast_enabled"),
    "amp.",
)
_are("GPUs: test_cuda_functions.py", _everything(
    "current_device device_count empty_cache get_device_capability get_device_name is_available "
    "is_initialized manual_seed manual_seed_all max_memory_allocated max_memory_reserved "
    "mem_get_info memory_allocated memory_reserved reset_peak_memory_stats set_device synchronize"
    ), "cuda.")  # fmt: skip
_are("GPUs: test_device_streams.py", _everything(
    "DeviceProperties Event OutOfMemoryError Stream current_stream default_stream device device_of "
    "get_device_properties init is_bf16_supported memory_stats memory_summary stream"
    ), "cuda.")  # fmt: skip
_are(
    "trades memory for work: test_checkpoint.py",
    _everything("checkpoint checkpoint_sequential"),
    "utils.checkpoint.",
)

# --------------------------------------------------------------------------------------- Tensor

_are("about the tensor: test_tensor.py, test_tensor_methods.py", _everything(
    "data data_ptr device dim dtype element_size is_complex is_contiguous is_cpu is_cuda "
    "is_floating_point is_pinned is_signed itemsize nbytes ndim ndimension nelement numel shape "
    "size storage_offset stride"), "Tensor.")  # fmt: skip
_are("autograd: test_autograd_core.py", _everything(
    "backward detach_ grad grad_fn is_leaf register_hook requires_grad requires_grad_ retain_grad "
    "retains_grad"), "Tensor.")  # fmt: skip
_are(
    "out of the tensor: test_tensor.py, test_interop.py",
    _everything("item numpy tolist"),
    "Tensor.",
)
_are("devices: test_device_tensors.py", _everything(
    "DeviceError OutOfMemoryError get_default_device set_default_device"), "")  # fmt: skip
_are("devices: test_tensor_methods.py", _everything("cuda pin_memory to_device"), "Tensor.")
_are("Python at each element: test_tensor_methods.py", _everything("apply_ map_"), "Tensor.")
_are(
    "draws: test_random.py",
    _everything("cauchy_ exponential_ geometric_ log_normal_ random_ uniform_"),
    "Tensor.",
)
_are("a cast: test_tensor_methods.py", _everything("char short type"), "Tensor.")
_are(
    "how a tensor is stored: test_views.py",
    _everything("array base path root spec step storage strides"),
    "Tensor.",
)

# --------------------------------------------------------------------- what other files do not use

_are("a name: test_names.py", _everything(
    "AutogradError LinAlgError LoadError TraceError UnsupportedError cdouble cfloat double half "
    "int8 int16 long short uint16 uint32 uint64 finfo iinfo initial_seed seed randint_like "
    "enable_grad set_grad_enabled get_default_dtype use_deterministic_algorithms e inf nan newaxis "
    "pi empty"))  # fmt: skip
_are("autograd: test_names.py", _everything("GradFn Handle tensor_backward"), "autograd.")
_are("anomalies: test_gradcheck.py", _everything(
    "detect_anomaly is_anomaly_enabled set_detect_anomaly"), "autograd.")  # fmt: skip
_are("a base of layers: test_names.py", _everything(
    "RNNBase RNNCellBase UninitializedBuffer UninitializedParameter"), "nn.")  # fmt: skip
_are("writes parameters: test_names.py", _everything(
    "constant_ eye_ fans kaiming_uniform_ ones_ uniform_ zeros_"), "nn.init.")  # fmt: skip
_are("parameters as one vector, gradients: test_names.py", _everything(
    "clip_grad_value_ parameters_to_vector vector_to_parameters"), "nn.utils.")  # fmt: skip
_are("a base: test_names.py", _everything("Optimizer ParamGroup"), "optim.")
_are("about the tensor: test_names.py", _everything(
    "is_complex is_floating_point itemsize nelement"), "Tensor.")  # fmt: skip
_are("draws: test_tensor_methods.py", _everything("cauchy_ geometric_ log_normal_"), "Tensor.")
_are("how a tensor is stored: test_compile_aliases.py", _everything("base"), "Tensor.")
_are("how a tensor is stored: test_trace_core.py", _everything("spec"), "Tensor.")
_are("how a tensor is stored, for the project itself", _everything("path root"), "Tensor.")
for _prefix in ("data.", "utils.data."):
    _are("data: test_names.py", _everything("ConcatDataset WorkerInfo"), _prefix)
_are("a dtype: test_fft.py", _everything("complex64 complex128"))
OTHERS.update({
    "device": "a class: test_tensor_methods.py",
    "set_default_dtype": "a rule of dtypes: test_context.py",
    "nn.utils.rnn.unpad_sequence": "packed sequences: test_names.py",
    "optim.lr_scheduler.LRScheduler": "a base: test_names.py",
    "data.transforms.Transform": "a base: test_names.py",
    "Tensor.data_ptr": "about the tensor: test_interop.py",
    "Tensor.detach_": "autograd: test_names.py",
    "Tensor.random_": "draws: test_names.py",
    "Tensor.to_device": "devices: test_xp.py",
})  # fmt: skip
