"""``python -m cellplane.cli``: the command line of this very Python, wherever its script is."""

from cellplane.cli import main

main()
