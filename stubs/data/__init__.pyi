"""`sley.data`."""

from sley.frontend.data import *
