"""How fast the hub is: every figure as a ratio to a bare limit measured in the same run."""
