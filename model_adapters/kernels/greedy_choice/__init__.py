"""Writing new keys and values into the caches of many sequences."""
