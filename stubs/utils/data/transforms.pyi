"""`sley.utils.data.transforms`."""

from sley.frontend.data.transforms import *
