"""Preflight: check that a model runs correctly and fits in memory before a long run starts."""

from model_adapters.preflight.checks import Subject, full_preflight, refuse_stopped, short_preflight

__all__ = ["Subject", "full_preflight", "refuse_stopped", "short_preflight"]
