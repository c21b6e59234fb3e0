"""Where results are kept beside the node's own store, and the proof that they can be read there."""
