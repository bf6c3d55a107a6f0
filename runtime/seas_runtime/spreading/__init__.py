"""Pairs made by several processes, on one machine or many, in the order and with the bytes of one."""
