"""`sley.xp.fft`."""

from sley.frontend.xp.fft import *
