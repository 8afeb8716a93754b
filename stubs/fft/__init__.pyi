"""`sley.fft`."""

from sley.frontend.fft import *
