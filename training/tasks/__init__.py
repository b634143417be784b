"""What a fine-tuned model is asked for; one file for each task."""
