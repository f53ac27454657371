"""Hostile files and failing systems: every one has its exit code, none does harm."""
