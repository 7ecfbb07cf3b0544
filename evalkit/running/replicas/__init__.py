"""Replicas: many copies of a model that answer one run, scheduled by a core that knows no transport and no clock."""
