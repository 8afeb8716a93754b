"""`sley.nn.utils.rnn`."""

from sley.frontend.nn.utils.rnn import *
