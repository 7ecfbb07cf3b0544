"""Models: an engine and adapters around transformers' own modules."""

from model_adapters.lean_import import install

install()
