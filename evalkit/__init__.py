"""Evaluate long-context language models: what a run is, how it is stored and what it shows."""

__version__ = "0.1.0"
