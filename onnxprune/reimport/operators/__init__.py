"""The operators of ONNX in torch, one function each, in files by family."""
