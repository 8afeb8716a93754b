"""`sley.random`."""

from sley.frontend.random import *
