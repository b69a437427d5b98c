"""Rahman's liquid argon, driven by the analytic forces and by what an ENN has learned of them."""
