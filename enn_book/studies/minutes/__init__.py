"""The paper's error in minutes."""
