"""Reading checkpoints: a file becomes a table of tensor descriptions, and nothing in it runs."""
