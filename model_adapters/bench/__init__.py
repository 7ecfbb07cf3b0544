"""What running a model costs, beside what the hardware allows and beside plain transformers."""
