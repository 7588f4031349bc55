"""Mutated files and killed processes, for as long as one likes: `make fuzz`."""
