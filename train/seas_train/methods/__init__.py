"""How each method is trained."""
