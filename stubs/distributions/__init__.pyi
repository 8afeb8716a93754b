"""`sley.distributions`."""

from sley.frontend.distributions import *
