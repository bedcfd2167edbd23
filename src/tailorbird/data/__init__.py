"""Files to checked splits: read, split, check."""
