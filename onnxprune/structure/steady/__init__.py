"""Which channels hold one value everywhere, whatever the input: above all, which are zero."""
