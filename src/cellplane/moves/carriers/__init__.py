"""What moves with a tenant beside its rows: work that waits in queues, files, objects.

``carrier`` is the interface, ``cargo`` is all of one move's; ``jetstream`` hands queued work over, out of a ``stream``;
``prefix`` carries what lies below a prefix, of folders (``files``) or buckets (``s3``). Only ``stream``, ``jetstream``
and ``s3`` load a library.
"""
