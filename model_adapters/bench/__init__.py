"""Time and memory of a model, compared with the hardware's limits and with plain transformers."""
