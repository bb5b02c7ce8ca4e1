"""What is wrong with an installation, and what to do about it.

``gather`` asks: the control plane, cells, routers, names, files of this machine; each within a bound. What it found
are ``facts``. ``checks`` judge them, and do no I/O. ``examination`` puts both together. A check that could not be made
says so; it never keeps the others from being made.
"""
