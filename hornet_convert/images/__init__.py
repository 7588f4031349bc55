"""Which images are meant, and which classes they are of. Opens no image, imports no torch."""
