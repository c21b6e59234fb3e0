"""The pure core: inputs, deals, phases, events, effects and the transition between them. No input or output."""
