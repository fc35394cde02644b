"""Inputs that nobody should write and somebody does: each ends in an error of ours, in an error row, or is taken."""
