"""Test error against cost for five optimisers."""
