"""Fine-tuning: a task's head on an encoder, trained by the loop of pre-training."""
