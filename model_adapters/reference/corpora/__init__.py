"""Generators of the reference models' training corpora and, with seed 0, of the embedded corpora."""
