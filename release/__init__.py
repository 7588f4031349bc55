"""What makes a release out of a commit."""
