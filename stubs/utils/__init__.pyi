"""`sley.utils`."""

from sley.frontend.utils import *
