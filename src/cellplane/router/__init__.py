"""The router: an agent that keeps a proxy's routing equal to the published table, with or without a control plane."""
