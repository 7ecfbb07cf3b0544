"""Preflight: is this model run correctly, and will it fit? Answered before hours are spent on it."""

from model_adapters.preflight.checks import Subject, full_preflight, refuse_stopped, short_preflight

__all__ = ["Subject", "full_preflight", "refuse_stopped", "short_preflight"]
