"""`sley.optim.swa_utils`."""

from sley.frontend.optim.swa_utils import *
