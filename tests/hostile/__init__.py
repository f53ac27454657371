"""Broken, hostile and odd files, each with the exit code that it must give."""
