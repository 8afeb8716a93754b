"""`sley.linalg`."""

from sley.frontend.linalg import *
