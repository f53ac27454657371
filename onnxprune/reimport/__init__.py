"""Imports an ONNX graph as a differentiable torch module, with the file's own tensors."""
