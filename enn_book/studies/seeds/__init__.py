"""The two shipped runs from other seeds."""
