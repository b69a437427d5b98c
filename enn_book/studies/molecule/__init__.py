"""A real molecule, ammonia: forces from quantum chemistry, the ENN that learns them, and what a chemist asks.

Four atoms have six relative vectors, as the paper's argon has (Eq. 41), so the same networks serve; but only
three of the atoms are alike, and the forces are no sums over pairs.
"""
