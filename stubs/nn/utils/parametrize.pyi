"""`sley.nn.utils.parametrize`."""

from sley.frontend.nn.utils.parametrize import *
