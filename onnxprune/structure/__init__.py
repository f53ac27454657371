"""Channels of a model: which positions of which tensors live or die together, and their end."""
