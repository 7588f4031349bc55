"""Everything that computes: the reference HorNet, a second forward, their comparison."""
