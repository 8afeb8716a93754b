"""`sley.utils.data`."""

from sley.frontend.data import *
