"""`sley.amp`."""

from sley.frontend.amp import *
