"""Health: what a router makes of its counters. Frozen values in, frozen values out; time is passed in, nothing does
I/O.

One question a module: ``window`` (what happened in the last seconds), ``score`` (how healthy one cell is), ``peers``
(which cell is worse than the others), ``pool_breakers`` (which cells get their requests), ``use`` (who used a
cell for what), ``poison`` (which tenant makes it ill for all others)."""
