"""Scheduling of requests and planning of memory."""
