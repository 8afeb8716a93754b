"""`sley.utils.data.digits`."""

from sley.frontend.data.digits import *
