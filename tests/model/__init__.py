"""The reference model, the second forward, and their comparison."""
