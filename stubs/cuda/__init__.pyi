"""`sley.cuda`."""

from sley.frontend.cuda import *
