"""Other models of the same forces, to compare the ENN with."""
