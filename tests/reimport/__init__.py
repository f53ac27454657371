"""Tests of the import into torch."""
