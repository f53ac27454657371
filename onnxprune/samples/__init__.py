"""Reads samples: what models are fed, in batches, from files, folders, functions or noise."""
