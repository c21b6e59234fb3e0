"""The weight syntax of prompts as the pipeline reads it: the very parser that inputs are checked with.

Imports no torch. Rules: docs, pipeline 3.1 and 3.2.
"""

from node.job.prompt import weighted_segments, words

__all__ = ["weighted_segments", "words"]
