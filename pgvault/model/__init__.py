"""Values and rules without I/O, from the standard library only. Every other package uses them."""
