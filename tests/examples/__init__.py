"""Tests of the scripts in `examples/` and of the data in `calibration/` they use."""
