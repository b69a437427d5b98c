"""Batches that hold compact configurations more often."""
