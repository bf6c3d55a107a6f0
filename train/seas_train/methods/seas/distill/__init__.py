"""Distillation: a student of few steps without guidance, and a mask head that reads its features."""
