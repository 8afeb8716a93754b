"""`sley.nn`."""

from sley.frontend.nn import *
