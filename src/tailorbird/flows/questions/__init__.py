"""`tailor compare QUESTIONS --store KB`: retrieval, fine-tuning and both, compared on questions."""
