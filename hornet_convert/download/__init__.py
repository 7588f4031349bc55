"""Getting a published file: sources in order, a cache, resumption, what is known to be right."""
