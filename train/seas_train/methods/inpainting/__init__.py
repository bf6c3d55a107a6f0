"""What methods share that learn embeddings for a frozen base, to draw into photographs."""
