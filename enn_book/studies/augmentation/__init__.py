"""What it costs a plain network to learn from turned data the symmetry that the ENN has by construction."""
