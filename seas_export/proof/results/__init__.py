"""What a proof says: JSON, a table, a picture."""
