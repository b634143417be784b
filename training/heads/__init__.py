"""From an encoder's tokens to what a task asks for."""
