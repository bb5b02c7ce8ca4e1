"""Manifests: a fleet as text. fleet.yaml and the API's resources become the model; what is wrong, what would change.

Nothing here does I/O. One topic a module: ``kinds`` declares every field once, ``resources`` turns specs into the model
and back, ``files`` reads fleet.yaml and knows where everything stands, ``dump`` writes it, ``schema`` is the JSON
Schema, ``lint`` has the rules, ``plan`` says what would change and whom it would move. Only ``files`` and
``dump`` load a YAML library, only ``lint``, ``moves`` and ``plan`` load NumPy.
"""
