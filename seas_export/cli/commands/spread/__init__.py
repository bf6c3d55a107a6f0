"""Commands for pairs that many machines make."""
