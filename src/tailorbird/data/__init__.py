"""Training data: reads files, splits the examples, checks the split."""
