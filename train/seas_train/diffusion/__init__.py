"""What every method trains and samples with."""
