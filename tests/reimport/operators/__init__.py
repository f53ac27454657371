"""Tests of the operators of the import."""
