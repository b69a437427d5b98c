"""What it costs a network to lack the symmetry of its task, or to have too much of it."""
