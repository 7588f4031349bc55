"""A repository for the Hub: what its files say. Pure; nothing here is written or uploaded."""
