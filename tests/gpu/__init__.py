"""Tests of what runs on a GPU, wherever ONNX Runtime can use one (`make gpu-check`)."""
