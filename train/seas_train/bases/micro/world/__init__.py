"""The rendered world that micro was trained on."""
