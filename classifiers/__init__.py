"""Recognising expressions. Knows nothing of how faces are made."""
