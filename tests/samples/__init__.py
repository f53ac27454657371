"""Tests of how samples are read and matched to inputs."""
