"""Patterns: what they are called, what they fit, how scores and budgets follow them."""
