"""What is found in one frame: people, their hands, and the pixels that are theirs."""
