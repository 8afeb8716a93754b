"""`sley.optim`."""

from sley.frontend.optim import *
