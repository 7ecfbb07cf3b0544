"""Preflight: check that a model runs correctly and fits in memory before a long run starts."""

from model_adapters.preflight.checks import Subject, full_preflight, refuse_stopped, short_preflight
from model_adapters.preflight.kept_checks import preflight_once

__all__ = ["Subject", "full_preflight", "preflight_once", "refuse_stopped", "short_preflight"]
