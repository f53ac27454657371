"""Which weights fall together, and how scores and budgets are made to fit that."""
