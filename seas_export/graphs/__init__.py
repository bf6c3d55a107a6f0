"""What methods export with: traced graphs, weights, schedules."""
