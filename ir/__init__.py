"""The SSA program: types, ops, graph, builders, text form, verifier, numpy evaluation."""
