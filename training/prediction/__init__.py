"""Prediction: a fine-tuned model on images and videos of anybody."""
