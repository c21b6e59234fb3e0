"""Which offers are worth taking, at what price, and the reason where not."""
