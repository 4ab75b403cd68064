"""Model servers of known capacity as event simulations, apart from the product's own simulator."""
