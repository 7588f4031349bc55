"""Reports for people: self-contained HTML pages, and the statistics they show."""
