"""`sley.nn.utils`."""

from sley.frontend.nn.utils import *
