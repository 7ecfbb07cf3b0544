"""What stands between a layer's products, each in one pass over memory: norms, gates and rotations."""
