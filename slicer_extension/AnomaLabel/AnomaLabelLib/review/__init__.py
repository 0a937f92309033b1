"""What readers decide: events, what they add up to, undo, and the queue on disk; no MRML, no HTTP."""
