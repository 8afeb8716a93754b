"""`sley.optim.lr_scheduler`."""

from sley.frontend.optim.lr_scheduler import *
