"""Provisioning: what builds and runs the planes and the cells."""
