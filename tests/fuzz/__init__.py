"""Feeds the readers of files with what is almost right, and looks at how they refuse it."""
