"""How results are shown: renderers that compute nothing."""
