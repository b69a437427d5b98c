"""The dynamics from ten sets of velocities."""
