"""`sley.data.digits`."""

from sley.frontend.data.digits import *
