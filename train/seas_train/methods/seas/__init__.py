"""SeaS: separation-and-sharing fine-tuning and its mask head."""
