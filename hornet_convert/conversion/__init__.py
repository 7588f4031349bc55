"""Making a new file of a checkpoint, and proving it before it gets its name."""
