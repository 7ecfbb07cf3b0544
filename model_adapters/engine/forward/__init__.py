"""Forward passes of one model: attention, decode steps, and scores from their logits."""
