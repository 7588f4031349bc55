"""What a checkpoint is and whether it is right: facts, checks, references, the verdict."""
