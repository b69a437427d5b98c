"""The programs of the project: ``python -m tools`` lists them."""
