"""`sley.metrics`."""

from sley.frontend.metrics import *
