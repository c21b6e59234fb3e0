"""The durable memory of the node: one SQLite file per data directory. The only room that knows SQL."""
