"""What the GPUs are and can do at this moment, who was promised their memory, and when they may be used."""
