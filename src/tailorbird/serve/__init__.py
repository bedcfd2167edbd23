"""Runs, models and knowledge bases behind one HTTP API, and a playground."""
