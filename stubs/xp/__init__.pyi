"""`sley.xp`."""

from sley.frontend.xp import *
