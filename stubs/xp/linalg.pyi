"""`sley.xp.linalg`."""

from sley.frontend.xp.linalg import *
