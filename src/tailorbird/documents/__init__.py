"""Extracts text from files, and cuts it into chunks."""
