"""Which studies there are, how far each is, who has it open, and in which order to read them."""
