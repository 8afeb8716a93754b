"""`sley.func`."""

from sley.frontend.func import *
