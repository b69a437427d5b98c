"""Energies, deviations and heat over up to 100,000 steps."""
