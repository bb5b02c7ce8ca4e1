"""Publishing: signed statements of what a fleet routes by, and where routers find them without a control plane."""
