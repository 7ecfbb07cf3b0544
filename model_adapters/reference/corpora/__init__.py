"""Generators of the corpora that the reference models were trained on, and of the embedded ones, which have seed 0."""
