"""Stored runs in the formats of other tools, each written through that tool's own library."""
