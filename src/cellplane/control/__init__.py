"""The control plane: the HTTP API over the directory, and the publisher of routing tables."""
