"""Tests of the recipes that make sample sets."""
