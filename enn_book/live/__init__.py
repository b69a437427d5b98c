"""What Python hands to the scripts in ``book/_static``, and the pictures that stand in for them."""
