"""Runs: folder, journal, child process, resume."""
