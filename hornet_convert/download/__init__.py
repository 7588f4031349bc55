"""Getting a published file: sources in order, a cache, resumption, and what is known to be right."""
