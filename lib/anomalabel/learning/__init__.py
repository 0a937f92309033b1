"""What is learned from healthy images: which of them, and the trainings that a user starts."""
