"""How weights are scored: one file per method."""
