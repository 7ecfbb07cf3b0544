"""How a model answers: engines and adapters around transformers' own modules."""
