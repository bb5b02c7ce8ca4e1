"""Planning: answers before a fleet exists. Frozen values in, frozen values out; nothing here does I/O.

One topic a module. Import the module that answers your question: only those that read assignments
(``placement``, ``planned``, ``enumeration``, ``blast_radius``) load NumPy.
"""
