"""What the work costs beside what others do for it: `make bench`."""
