"""README and docs/ are run: every command, every program, and what is shown of their output."""
