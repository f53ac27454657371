"""Methods that measure a model, beside an implementation of their own that shares nothing."""
