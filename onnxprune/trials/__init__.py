"""Runs models on ONNX Runtime and measures what pruning cost."""
