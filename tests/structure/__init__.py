"""Tests of channels: how they are followed, which can go, what is left."""
