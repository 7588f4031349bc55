"""Files on a disk: exact reads, whole writes, errors that say what to do."""
