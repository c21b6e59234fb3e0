"""A profile's weights on the disk: where they come from, how they are kept, whether they are whole.

Torch-free: ``sources`` (pinned files), ``layout`` (names, kinds of numbers), ``records`` (``weights.json``:
``recorded_hashes``, ``completeness``, ``verify``), ``obtaining`` with ``local`` and ``hub`` (files from here
or elsewhere), ``sharing`` (from another profile) and ``pull`` (all of it in order). ``convert`` imports torch
and runs in a process of its own, which ``conversion`` starts.
"""
