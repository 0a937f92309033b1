"""The panel without its window: takes the user's acts, keeps the state, says what is to be drawn."""
