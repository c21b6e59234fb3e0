"""The pure core: inputs, deals, phases, events, effects and the transition. No input or output."""
