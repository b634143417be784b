"""Labelled samples: images of people and hands with what is known of them, for fine-tuning."""
