"""Memory of sequences: slots, what each layer stores in them, and passes that read and write it."""
