"""Tests of `supervisor.doctor`."""
