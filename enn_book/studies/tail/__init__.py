"""The tails of the errors: over test sets, around the worst configuration, and in dynamics."""
