"""`sley.data.transforms`: images changed on their way from a dataset into a batch.

An image is a tensor [..., channels, height, width], or an array [height, width] or [height, width,
channels], of uint8 from 0 to 255 or of floats from 0 to 1. Random numbers come from sley's
generator: `sley.manual_seed` and the seeds of workers decide them.
"""

from .basic import (
    Compose,
    ConvertImageDtype,
    Lambda,
    Normalize,
    RandomApply,
    RandomChoice,
    ToTensor,
    Transform,
)
from .color import ColorJitter, Cutout, Grayscale, RandomErasing
from .geometry import (
    CenterCrop,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
)
from .mixing import CutMix, MixUp

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "ConvertImageDtype",
    "CutMix",
    "Cutout",
    "Grayscale",
    "Lambda",
    "MixUp",
    "Normalize",
    "Pad",
    "RandomApply",
    "RandomChoice",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "Resize",
    "ToTensor",
    "Transform",
]
