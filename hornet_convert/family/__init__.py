"""What is published, and what it is made of: the nine, the architecture, layouts, labels."""
