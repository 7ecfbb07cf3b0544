"""Evaluate long-context language models: runs, their storage and their analysis."""

__version__ = "0.1.0"
