"""What pages of *The idea* need and others may use."""
