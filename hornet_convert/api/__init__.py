"""What Python users call, and what the command line calls: each function with all that it needs."""
