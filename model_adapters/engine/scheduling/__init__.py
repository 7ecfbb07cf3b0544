"""Which requests run together, and how much memory they are given."""
