"""Envoy as the router's engine: renders its configuration, supervises its process, reads back what it runs."""
