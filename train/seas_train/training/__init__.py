"""The training harness: one loop for every stage, with state that survives being killed."""
