"""`sley.utils.checkpoint`."""

from sley.frontend.utils.checkpoint import *
