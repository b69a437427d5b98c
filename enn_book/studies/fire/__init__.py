"""FIRE under every reading of the paper."""
