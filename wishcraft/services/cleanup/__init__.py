"""Deletion of rows and keys past their retention."""
