"""The memory of sequences: slots, what each layer keeps in them, and passes that read and write it."""
