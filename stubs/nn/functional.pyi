"""`sley.nn.functional`."""

from sley.frontend.nn.functional import *
