"""Fine-tuning: the loop, its optimiser, its checkpoints, and what a Ray Train worker runs."""
