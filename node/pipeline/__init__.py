"""The deterministic pipeline: a JobSpec becomes files, the same bytes within one determinism class.

The only room that imports torch. Modules that the daemon may read (environment, profiles, results) do not.
"""
