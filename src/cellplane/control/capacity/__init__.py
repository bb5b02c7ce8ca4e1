"""The control plane's part in capacity: hears or asks cells, locks and unlocks them, and has more of them made.

``looking`` puts together what is known, ``scraper`` asks cells that do not report, ``keeper`` acts on it while this
process leads, ``growing`` makes a cell through a provisioner, ``provisioners`` finds that. What follows from what is
``cellplane.capacity``'s to say.
"""
