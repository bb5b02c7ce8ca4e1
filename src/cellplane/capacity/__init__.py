"""Capacity: how full cells are, and what follows. Frozen values in, frozen values out; time is passed in, nothing does
I/O.

One question a module: ``metrics`` (what a cell holds, and of how much), ``exposition`` (the same from its /metrics),
``locks`` (which cells take new tenants), ``headroom`` (what is left in cells and pools), ``trend`` (for how many days),
``growth`` (when to ask for one more cell)."""
