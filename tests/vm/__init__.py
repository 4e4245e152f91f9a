"""Virtual machines, and the tests of this project in them."""
