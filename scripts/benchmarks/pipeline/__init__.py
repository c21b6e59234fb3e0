"""The pipeline's speed, memory and repeatability against diffusers' own pipelines, in one run.

``python -m scripts.benchmarks.pipeline --help`` says what is measured and what it needs.
"""
