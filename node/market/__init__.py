"""The market side: logs become events, proposals go out. Knows the contracts, not the engine."""
