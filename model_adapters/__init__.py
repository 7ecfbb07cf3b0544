"""Models: an engine and adapters around transformers' own modules."""
