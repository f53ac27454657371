"""Laws that hold for everything in the registry."""
