"""Runs the reliability programme at a chosen size and writes down what came of it."""
