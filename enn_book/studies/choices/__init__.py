"""What matters in training: one setting changed at a time."""
