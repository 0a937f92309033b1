"""What reviewers decided: append-only events, one file per image, each line holding the hash of the one before."""
