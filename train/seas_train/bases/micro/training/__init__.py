"""The training of micro's weights."""
