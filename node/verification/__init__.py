"""Whether a result is what its job promises, and whether another execution gives the same bytes."""
