"""Operators between the matrix products of a layer, each in one pass over memory: norms, gates and rotations."""
