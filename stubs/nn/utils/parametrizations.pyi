"""`sley.nn.utils.parametrizations`."""

from sley.frontend.nn.utils.parametrizations import *
