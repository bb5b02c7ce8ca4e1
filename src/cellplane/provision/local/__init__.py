"""A whole fleet as processes of one machine: for trying, for tests, for showing failures."""
