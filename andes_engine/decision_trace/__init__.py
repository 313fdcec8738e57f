"""Decisions recorded while serving, each with all it was made from, and made again later to the bit."""
