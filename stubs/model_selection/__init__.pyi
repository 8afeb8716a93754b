"""`sley.model_selection`."""

from sley.frontend.model_selection import *
