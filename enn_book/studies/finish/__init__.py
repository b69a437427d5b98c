"""A second-order finish of trained weights."""
