"""Tests of `supervisor.service`."""
