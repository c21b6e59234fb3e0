"""What the daemon and its worker cost beside the rendering; ``scripts/bench daemon``."""
