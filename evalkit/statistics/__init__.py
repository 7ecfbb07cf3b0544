"""Intervals, paired and unpaired differences, and power."""
