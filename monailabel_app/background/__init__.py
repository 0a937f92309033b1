"""Long work beside inference: one of a kind at a time, with its progress, time left and cancelling."""
