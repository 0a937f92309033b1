"""The train tasks, and the one worker that runs them beside inference."""
