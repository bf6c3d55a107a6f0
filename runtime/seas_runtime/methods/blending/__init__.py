"""What methods share that draw into a background: their step's graph blends before it denoises."""
