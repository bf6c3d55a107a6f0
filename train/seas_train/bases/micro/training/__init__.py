"""How micro's weights were trained."""
