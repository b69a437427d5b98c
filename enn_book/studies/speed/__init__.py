"""How fast the network trains and moves atoms."""
