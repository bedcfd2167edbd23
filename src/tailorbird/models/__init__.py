"""Base models: loading, embedding, generation and predictions."""
