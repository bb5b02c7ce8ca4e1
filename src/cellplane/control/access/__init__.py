"""Access to the control plane: who calls, what they may do, how often, and what of it is kept for the record."""
