"""T20: the same job gives the same bytes, honest results are accepted, and cheats are found out."""
