"""How good a method is: cases, protocol, metrics, significance, report."""
