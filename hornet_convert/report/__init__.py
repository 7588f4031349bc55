"""What is told of a checkpoint: rows, claims, the verdict, the forward trace. Pure."""
