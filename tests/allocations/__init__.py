"""Tests of single allocations."""
