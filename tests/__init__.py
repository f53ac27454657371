"""The tests of onnxprune."""
