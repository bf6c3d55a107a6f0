"""What methods share that draw into photographs with a frozen base and learned embeddings."""
