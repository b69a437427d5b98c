"""The paper's own protocol, as far as it was taken."""
