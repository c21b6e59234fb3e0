"""The end of a deal: results and honest failures go on chain, and what is owed after a timeout is claimed."""
