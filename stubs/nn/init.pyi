"""`sley.nn.init`."""

from sley.frontend.nn.init import *
