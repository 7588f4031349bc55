"""A report for people as an HTML page: no scripts, nothing loaded from elsewhere."""
