"""Tests of reports in all their forms."""
