"""What a checkpoint is and whether it is right: identity, one pass over the bytes, the checks."""
