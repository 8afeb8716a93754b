"""`sley.autograd`."""

from sley.frontend.autograd import *
