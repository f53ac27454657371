"""Wins accuracy back: fits, corrects and trains what pruning left."""
