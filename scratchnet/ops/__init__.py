"""Primitives: what is differentiated by a rule. All else is made of them."""
