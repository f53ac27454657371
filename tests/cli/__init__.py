"""Tests of the command line: words, exit codes, streams, reports."""
