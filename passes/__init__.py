"""Transformations of programs: each reads one graph and builds another."""
