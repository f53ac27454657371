"""Tests of what runs models and compares them."""
