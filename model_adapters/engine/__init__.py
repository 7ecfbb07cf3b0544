"""Segmented prefill, slotted cache and batched decode around transformers' own modules, hybrid or not."""
