"""The tests of reading, patching and writing model files."""
