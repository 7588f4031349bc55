"""hornet-convert: fetch, check, convert and verify the published HorNet checkpoints."""
