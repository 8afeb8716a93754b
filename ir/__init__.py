"""The SSA program: types, ops, graph, builders, text form, verifier, numpy evaluation."""

import time

LOADED_AT = time.time_ns()  # no other room is loaded without this one: newer source does not run
