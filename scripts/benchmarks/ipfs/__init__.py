"""What publishing costs: import, download and serving, each beside a peer or a limit of the machine."""
