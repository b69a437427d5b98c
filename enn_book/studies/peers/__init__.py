"""The ENN beside other models at equal parameters and equal time."""
