"""What methods want to know of a model beyond its weights, measured by running it in torch."""
